// SPDX-License-Identifier: Apache-2.0
// LocalNode: a function that the process before this one had, with its guest.
#include <filesystem>
#include <optional>
#include <stdlib.h>
#include <thread>
#include <unistd.h>

#include "reactor/linux/reactor_thread.h"
#include "tests/support/frozen_handles.h"
#include "tests/support/nvme_guest.h"
#include "tests/support/slow_device.h"
#include "tests/unit/node/node_fixture.h"

namespace remora::node {
namespace {

using frontends::vfio_user_nvme::Controller;
using frontends::vfio_user_nvme::FrozenController;
using nvme::spec::IoOpcode;
using test::NvmeGuest;

/// A controller of its own, with two namespaces, which stands for the process before.
class Before {
  public:
    explicit Before(const std::string& path) {
        reactor::ReactorThreadOptions options;
        options.name = "before";
        thread_ = std::move(*reactor::ReactorThread::start(options));
        buffers_ = std::move(*memory::BufferPool::create(std::size_t{1} << 20U));
        context_.emplace(block::ReactorContext{thread_->reactor(), *buffers_});
        run([&]() -> Task<> {
            frontends::vfio_user_nvme::ControllerSpec spec;
            spec.name = "nvme0";
            spec.socket_path = path;
            spec.io_queues = 4;
            spec.identity.nqn = kNqn;
            spec.identity.max_namespaces = 32;
            controller_ = std::move(*Controller::create(spec, *context_));
            for (std::uint32_t nsid = 1; nsid <= 2; ++nsid) {
                nvme::Namespace shown;
                shown.nsid = nsid;
                EXPECT_TRUE(controller_->add_namespace(shown, devices_[nsid - 1]));
            }
            co_return;
        });
    }
    ~Before() {
        run([&]() -> Task<> {
            EXPECT_TRUE(co_await controller_->stop(10s));
            controller_.reset();
        });
    }
    FrozenController freeze() {
        FrozenController frozen;
        run([&]() -> Task<> {
            auto taken = co_await controller_->freeze(10s);
            EXPECT_TRUE(taken);
            frozen = std::move(*taken);
        });
        test::duplicate_handles(frozen);
        return frozen;
    }

  private:
    template <typename F>
    void run(F body) {
        std::promise<void> done;
        auto future = done.get_future();
        thread_->reactor().post_function([&] { start(body, done); });
        CHECK(future.wait_for(60s) == std::future_status::ready);
    }
    template <typename F>
    static reactor::detail::Detached start(F& body, std::promise<void>& done) {
        co_await body();
        done.set_value();
    }

    std::array<test::SlowDevice, 2> devices_{test::SlowDevice({.block_count = 2048}),
                                             test::SlowDevice({.block_count = 2048})};
    std::unique_ptr<memory::BufferPool> buffers_;
    std::optional<block::ReactorContext> context_;
    std::unique_ptr<reactor::ReactorThread> thread_;
    std::unique_ptr<Controller> controller_;
};

class HandedOverTest : public testing::Test {
  protected:
    HandedOverTest() {
        std::string pattern = (std::filesystem::temp_directory_path() / "remora-XXXXXX").string();
        folder_ = mkdtemp(pattern.data());
    }
    ~HandedOverTest() override { std::filesystem::remove_all(folder_); }

    static Task<> add_volume(Rig& rig, std::string name, std::uint32_t nsid) {
        core::Prng prng(nsid);
        const auto made = co_await rig.node().create_ram(
            {.name = name, .uuid = core::Uuid::random(prng), .block_count = 2048});
        EXPECT_TRUE(made);
        NamespaceSpec spec = space_on(name);
        spec.nsid = nsid;
        EXPECT_TRUE(co_await rig.node().add_namespace(spec));
    }
    Task<> create(Rig& rig) {
        VfioNvmeSpec spec;
        spec.name = "nvme0";
        spec.socket_path = folder_ + "/after.sock";
        spec.io_queues = 4;
        spec.nqn = kNqn;
        EXPECT_TRUE(co_await rig.node().create_vfio_nvme(spec));
    }
    std::string folder_;
};

// A namespace whose volume is built late must not fail the guest's I/O meanwhile.
TEST_F(HandedOverTest, Function_goesOnAsSoonAsItsNamespacesAreThere) {
    Before before(folder_ + "/before.sock");
    NvmeGuest guest({.path = folder_ + "/before.sock"});
    ASSERT_TRUE(guest.start(1)) << guest.error();
    Rig rig("after", {{.name = "nvme0", .controller = before.freeze()}});
    rig.run([&]() -> Task<> {
        EXPECT_TRUE(co_await rig.node().create_subsystem(subsystem()));
        co_await add_volume(rig, "first", 1);
        co_await create(rig);
        const auto status = co_await rig.node().vfio_nvme_status("nvme0");
        EXPECT_TRUE(status && status->connected) << "nobody is to plug it anew";
    });
    guest.push(guest.queue(1), NvmeGuest::io(IoOpcode::Flush, 0, 1, 2));
    guest.ring(guest.queue(1));
    EXPECT_FALSE(guest.wait(guest.queue(1), 50).has_value());
    rig.run([&]() -> Task<> { co_await add_volume(rig, "second", 2); });
    const auto done = guest.wait(guest.queue(1));
    ASSERT_TRUE(done.has_value());
    EXPECT_EQ(done->status(), 0);
    EXPECT_EQ(guest.status_of(guest.queue(1), NvmeGuest::io(IoOpcode::Flush, 0, 1)), 0);
}

TEST_F(HandedOverTest, StateThatCannotBe_isDropped_andTheFunctionServesTheNextClient) {
    Before before(folder_ + "/before.sock");
    NvmeGuest guest({.path = folder_ + "/before.sock"});
    ASSERT_TRUE(guest.start(1)) << guest.error();
    FrozenController frozen = before.freeze();
    frozen.function.submissions.back().cqid = 9;
    Rig rig("after", {{.name = "nvme0", .controller = frozen}});
    rig.run([&]() -> Task<> {
        EXPECT_TRUE(co_await rig.node().create_subsystem(subsystem()));
        co_await add_volume(rig, "first", 1);
        co_await add_volume(rig, "second", 2);
        co_await create(rig);
    });
    NvmeGuest next({.path = folder_ + "/after.sock"});
    ASSERT_TRUE(next.start(1)) << next.error();
    EXPECT_EQ(next.status_of(next.queue(1), NvmeGuest::io(IoOpcode::Flush, 0, 1)), 0);
}

/// Two functions of the host, each with a volume of the target.
class HandsOverTest : public LocalNodeTest {
  protected:
    HandsOverTest() {
        std::string pattern = (std::filesystem::temp_directory_path() / "remora-XXXXXX").string();
        folder_ = mkdtemp(pattern.data());
        serve(1);
        target_.run([&]() -> Task<> {
            co_await add_volume("second", 2);
            EXPECT_TRUE(co_await target_.node().add_namespace(space_on("second")));
        });
        connect();
        host_.run([&]() -> Task<> {
            co_await create("nvme0", "remoten1");
            co_await create("nvme1", "remoten2");
        });
    }
    ~HandsOverTest() override {
        host_.stop();
        std::filesystem::remove_all(folder_);
    }

    Task<> create(std::string name, std::string volume) {
        SubsystemSpec whole;
        whole.nqn = kNqn + "-" + name;
        EXPECT_TRUE(co_await host_.node().create_subsystem(whole));
        VfioNvmeSpec spec;
        spec.name = name;
        spec.socket_path = path_of(name);
        spec.io_queues = 1;
        spec.nqn = whole.nqn;
        EXPECT_TRUE(co_await host_.node().create_vfio_nvme(spec));
        NamespaceSpec space = space_on(volume);
        space.nqn = whole.nqn;
        EXPECT_TRUE(co_await host_.node().add_namespace(space));
    }
    /// Hands over while nvme0 has a request that takes a minute, and nvme1 always some that take
    /// 20 ms: which functions go.
    std::vector<std::string> hand_over() {
        delay("first", 60s);
        delay("second", 20ms);
        NvmeGuest waits({.path = path_of("nvme0")});
        NvmeGuest other({.path = path_of("nvme1")});
        CHECK(waits.start(1) && other.start(1));
        push_read(waits, waits.allocate(4096));
        const std::jthread load([&other](const std::stop_token& stop) {
            const std::uint64_t data = other.allocate(4096);
            for (std::size_t under_way = 0; !stop.stop_requested();) {
                for (; under_way < 4; ++under_way) {
                    push_read(other, data);
                }
                under_way -= other.wait(other.queue(1), 100) ? 1 : 0;
            }
        });
        wait_until_delayed("first");
        wait_until_delayed("second");
        std::vector<std::string> handed;
        host_.run([&]() -> Task<> {
            for (FrozenFunction& function : co_await host_.node().hand_over(300ms)) {
                handed.push_back(function.name);
            }
        });
        return handed;
    }
    void delay(const std::string& volume, core::Nanos by) {
        target_.run([&]() -> Task<> {
            const auto set = co_await target_.node().set_volume_faults(volume, delays_of(by));
            CHECK(set.has_value());
        });
    }
    void wait_until_delayed(const std::string& volume) {
        target_.run([&]() -> Task<> {
            std::uint64_t held = 0;
            while (held == 0) {
                const auto counts = co_await target_.node().volume_fault_counts(volume);
                held = counts->delayed;
            }
        });
    }
    static void push_read(NvmeGuest& guest, std::uint64_t data) {
        nvme::spec::Command read = NvmeGuest::io(IoOpcode::Read, 0, 8);
        guest.point(read, data, 4096);
        guest.push(guest.queue(1), read);
        guest.ring(guest.queue(1));
    }
    [[nodiscard]] std::string path_of(const std::string& name) const {
        return folder_ + "/" + name + ".sock";
    }

    std::string folder_;
};

// A process that has handed over does nothing else before it ends, so another one does it here.
TEST_F(HandsOverTest, FunctionWithARequestUnderWay_doesNotUseUpTheOthersTime) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    const auto others_go = [this] { return hand_over() == std::vector<std::string>{"nvme1"}; };
    EXPECT_EXIT(std::_Exit(others_go() ? 0 : 1), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace remora::node
