// SPDX-License-Identifier: Apache-2.0
// The data path allocates nothing: counts operator new on the target's own thread.
#include <cstdlib>
#include <new>

#include "reactor/call.h"
#include "reactor/linux/reactor_thread.h"
#include "tests/unit/nvme_tcp_target/target_fixture.h"

namespace {

thread_local std::uint64_t allocations = 0;

void* counted(std::size_t bytes) {
    ++allocations;
    void* memory = std::malloc(bytes);
    CHECK(memory != nullptr);
    return memory;
}

}  // namespace

void* operator new(std::size_t bytes) {
    return counted(bytes);
}
void* operator new[](std::size_t bytes) {
    return counted(bytes);
}
void operator delete(void* memory) noexcept {
    std::free(memory);
}
void operator delete[](void* memory) noexcept {
    std::free(memory);
}
void operator delete(void* memory, std::size_t /*bytes*/) noexcept {
    std::free(memory);
}
void operator delete[](void* memory, std::size_t /*bytes*/) noexcept {
    std::free(memory);
}

namespace remora::test {
namespace {

class TargetAllocations : public ReactorFixture {
  public:
    /// Allocations so far on the target's thread. Asking makes the same few each time.
    Task<std::uint64_t> count() {
        const std::uint64_t value =
            co_await reactor::call_on(thread_->reactor(), [] { return allocations; });
        co_return value;
    }

    static Task<> mixed_io(RawHost& io, int rounds) {
        const auto data = pattern(32768, 1);
        for (int i = 0; i < rounds; ++i) {
            const auto lba = static_cast<std::uint64_t>(i % 64) * 64;
            const Outcome small = co_await io.perform(make_rw(IoOpcode::Write, lba, 8, true),
                                                      std::span(data).first(4096));
            EXPECT_EQ(small.status, 0);
            const Outcome large = co_await io.perform(make_rw(IoOpcode::Write, lba, 64), data);
            EXPECT_EQ(large.status, 0);
            const Outcome read = co_await io.perform(make_rw(IoOpcode::Read, lba, 64));
            EXPECT_EQ(read.data, data);
            const Outcome flush = co_await io.perform(make_command(0x00, 1, 0, false));
            EXPECT_EQ(flush.status, 0);
        }
    }

    std::unique_ptr<memory::BufferPool> pool_ =
        std::move(*memory::BufferPool::create(std::size_t{8} << 20U));
    MemoryDevice device_{"disk"};
    std::unique_ptr<reactor::ReactorThread> thread_ = std::move(
        *reactor::ReactorThread::start({.id = 1, .name = "target", .core = {}, .policy = {}}));
};

TEST_F(TargetAllocations, SteadyIo_allocatesNothing) {
    run([&]() -> Task<> {
        const block::ReactorContext context{thread_->reactor(), *pool_};
        Target target(std::span(&context, 1), reactor());
        SubsystemOptions subsystem;
        subsystem.nqn = kSubsystem;
        const auto made = co_await target.create_subsystem(subsystem);
        EXPECT_TRUE(made.has_value());
        const auto at =
            co_await target.add_listener(kSubsystem, reactor::Endpoint::tcp("127.0.0.1", 0));
        NamespaceOptions options;
        options.device = &device_;
        const auto nsid = co_await target.add_namespace(kSubsystem, options);
        EXPECT_TRUE(nsid.has_value());
        auto admin = co_await RawHost::open(*at);
        co_await admin->handshake();
        co_await admin->connect({});
        co_await admin->enable();
        auto io = co_await RawHost::open(*at);
        co_await io->handshake(3);
        ConnectOptions connect;
        connect.qid = 1;
        connect.cntlid = admin->cntlid;
        co_await io->connect(connect);

        co_await mixed_io(*io, 50);  // pools and caches fill
        const std::uint64_t first = co_await count();
        const std::uint64_t asking = co_await count() - first;
        const std::uint64_t before = co_await count();
        co_await mixed_io(*io, 100);
        const std::uint64_t after = co_await count();
        EXPECT_EQ(after - before, asking);
        co_await target.stop();
    });
}

}  // namespace
}  // namespace remora::test
