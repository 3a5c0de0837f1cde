// SPDX-License-Identifier: Apache-2.0
// LocalNode: NVMe controllers on vfio-user sockets, driven by a guest on the test's thread.
#include <cstring>
#include <filesystem>
#include <stdlib.h>

#include "tests/support/nvme_guest.h"
#include "tests/unit/node/node_fixture.h"

namespace remora::node {
namespace {

using nvme::spec::IoOpcode;
using test::NvmeGuest;

class VfioNvmeNodeTest : public testing::Test {
  protected:
    VfioNvmeNodeTest() {
        std::string pattern = (std::filesystem::temp_directory_path() / "remora-XXXXXX").string();
        folder_ = mkdtemp(pattern.data());
        spec_.name = "nvme0";
        spec_.socket_path = folder_ + "/nvme0.sock";
        spec_.io_queues = 4;
        spec_.nqn = kNqn;
        spec_.serial = "SERIAL";
    }
    ~VfioNvmeNodeTest() override {
        rig_.stop();
        std::filesystem::remove_all(folder_);
    }

    Task<> add_volume(std::string name, std::uint64_t mib) {
        core::Prng prng(mib);
        const auto made = co_await rig_.node().create_ram(
            {.name = name, .uuid = core::Uuid::random(prng), .block_count = mib * 2048});
        EXPECT_TRUE(made);
    }
    Task<Result<std::uint32_t>> add_namespace(std::string volume, std::uint32_t nsid) {
        NamespaceSpec spec = space_on(volume);
        spec.nsid = nsid;
        auto added = co_await rig_.node().add_namespace(spec);
        co_return added;
    }
    /// A controller with one namespace.
    void serve(std::uint64_t mib) {
        rig_.run([&, mib]() -> Task<> {
            co_await add_volume("first", mib);
            const auto whole = co_await rig_.node().create_subsystem(subsystem());
            EXPECT_TRUE(whole);
            const auto made = co_await rig_.node().create_vfio_nvme(spec_);
            EXPECT_TRUE(made);
            const auto nsid = co_await add_namespace("first", 0);
            EXPECT_EQ(nsid.value_or(0), 1U);
        });
    }

    /// What Identify says of the controllers that have namespace 1.
    static std::vector<std::uint16_t> listed_controllers(NvmeGuest& guest) {
        std::vector<std::uint16_t> cntlids;
        if (const auto page = guest.identify(0x12, 1)) {
            nvme::spec::ControllerList list;
            std::memcpy(&list, page->data(), sizeof(list));
            for (std::size_t i = 0; i < list.count; ++i) {
                cntlids.push_back(list.cntlid[i]);
            }
        }
        return cntlids;
    }

    std::string folder_;
    VfioNvmeSpec spec_;
    Rig rig_{"vfio"};
};

TEST_F(VfioNvmeNodeTest, Controller_servesVolumesUntilItIsDeleted) {
    serve(1);
    NvmeGuest guest({.path = spec_.socket_path});
    ASSERT_TRUE(guest.start(2)) << guest.error();
    const std::uint64_t data = guest.allocate(4096);
    nvme::spec::Command write = NvmeGuest::io(IoOpcode::Write, 2040, 8);
    guest.point(write, data, 4096);
    EXPECT_EQ(guest.status_of(guest.queue(1), write), 0);
    rig_.run([&]() -> Task<> {
        co_await add_volume("second", 2);
        const auto nsid = co_await add_namespace("second", 0);
        EXPECT_EQ(nsid.value_or(0), 2U);
        const auto status = co_await rig_.node().vfio_nvme_status("nvme0");
        EXPECT_TRUE(status && status->connected && status->ready);
        EXPECT_EQ(status->active_queues, 2U);
        const auto stats = co_await rig_.node().vfio_nvme_stats("nvme0");
        EXPECT_EQ(stats->write.bytes, 4096U);
        const auto pinned = co_await rig_.node().delete_volume("first");
        EXPECT_EQ(pinned.error().kind, ErrorKind::FailedPrecondition);
    });
    EXPECT_EQ(guest.status_of(guest.queue(2), NvmeGuest::io(IoOpcode::Verify, 0, 4096, 2)), 0);
    rig_.run([&]() -> Task<> {
        const auto removed = co_await rig_.node().remove_namespace(kNqn, 1);
        EXPECT_TRUE(removed);
        const auto gone = co_await rig_.node().delete_volume("first");
        EXPECT_TRUE(gone);
        const auto deleted = co_await rig_.node().delete_vfio_nvme("nvme0");
        EXPECT_TRUE(deleted);
        const auto whole = co_await rig_.node().delete_subsystem(kNqn);
        EXPECT_TRUE(whole);
        const auto last = co_await rig_.node().delete_volume("second");
        EXPECT_TRUE(last);
    });
    EXPECT_TRUE(guest.client().closed_by_peer());
    EXPECT_FALSE(std::filesystem::exists(spec_.socket_path));
}

TEST_F(VfioNvmeNodeTest, GrownVolume_isLargerForTheGuest) {
    serve(1);
    NvmeGuest guest({.path = spec_.socket_path});
    ASSERT_TRUE(guest.start(1)) << guest.error();
    EXPECT_NE(guest.status_of(guest.queue(1), NvmeGuest::io(IoOpcode::Verify, 2048, 8)), 0);
    rig_.run([&]() -> Task<> {
        const auto grown = co_await rig_.node().grow_volume("first", 4096);
        EXPECT_TRUE(grown) << grown.error().message;
    });
    EXPECT_EQ(guest.status_of(guest.queue(1), NvmeGuest::io(IoOpcode::Verify, 2048, 8)), 0);
}

TEST_F(VfioNvmeNodeTest, WhatCannotBe_isRefused) {
    serve(1);
    rig_.run([&]() -> Task<> {
        auto wrong = spec_;
        wrong.name = "wrong";
        wrong.io_queues = 65;
        auto made = co_await rig_.node().create_vfio_nvme(wrong);
        EXPECT_EQ(made.error().kind, ErrorKind::InvalidArgument);
        made = co_await rig_.node().create_vfio_nvme(spec_);
        EXPECT_EQ(made.error().kind, ErrorKind::AlreadyExists);
        auto nsid = co_await add_namespace("nothing", 0);
        EXPECT_EQ(nsid.error().kind, ErrorKind::NotFound);
        nsid = co_await add_namespace("first", 1025);
        EXPECT_EQ(nsid.error().kind, ErrorKind::InvalidArgument);
        nsid = co_await add_namespace("first", 1);
        EXPECT_EQ(nsid.error().kind, ErrorKind::AlreadyExists);
        nsid = co_await add_namespace("first", 7);
        EXPECT_EQ(nsid.value_or(0), 7U);
        const auto removed = co_await rig_.node().remove_namespace(kNqn, 8);
        EXPECT_EQ(removed.error().kind, ErrorKind::NotFound);
        const auto missing = co_await rig_.node().vfio_nvme_status("nvme1");
        EXPECT_EQ(missing.error().kind, ErrorKind::NotFound);
    });
}

TEST_F(VfioNvmeNodeTest, Controllers_ofOneSubsystem_showTheSameNamespaces) {
    serve(1);
    VfioNvmeSpec other = spec_;
    other.name = "nvme1";
    other.socket_path = folder_ + "/nvme1.sock";
    other.cntlid = 2;
    rig_.run([&]() -> Task<> {
        auto nowhere = other;
        nowhere.nqn += "-other";
        auto made = co_await rig_.node().create_vfio_nvme(nowhere);
        EXPECT_EQ(made.error().kind, ErrorKind::NotFound);
        made = co_await rig_.node().create_vfio_nvme(other);
        EXPECT_TRUE(made);
        co_await add_volume("second", 1);
        const auto nsid = co_await add_namespace("second", 0);
        EXPECT_EQ(nsid.value_or(0), 2U);
    });
    for (const std::string& path : {spec_.socket_path, other.socket_path}) {
        NvmeGuest guest({.path = path});
        ASSERT_TRUE(guest.start(1)) << guest.error();
        EXPECT_EQ(guest.status_of(guest.queue(1), NvmeGuest::io(IoOpcode::Verify, 0, 8, 1)), 0);
        EXPECT_EQ(guest.status_of(guest.queue(1), NvmeGuest::io(IoOpcode::Verify, 0, 8, 2)), 0);
        EXPECT_EQ(listed_controllers(guest), (std::vector<std::uint16_t>{1, 2}));
    }
    rig_.run([&]() -> Task<> {
        const auto removed = co_await rig_.node().delete_vfio_nvme("nvme1");
        EXPECT_TRUE(removed);
    });
    NvmeGuest left({.path = spec_.socket_path});
    ASSERT_TRUE(left.start(1)) << left.error();
    EXPECT_EQ(listed_controllers(left), (std::vector<std::uint16_t>{1}));
    rig_.run([&]() -> Task<> {
        auto gone = co_await rig_.node().delete_subsystem(kNqn);
        EXPECT_EQ(gone.error().kind, ErrorKind::FailedPrecondition);
        const auto removed = co_await rig_.node().remove_namespace(kNqn, 1);
        EXPECT_TRUE(removed);
        gone = co_await rig_.node().delete_vfio_nvme("nvme0");
        EXPECT_TRUE(gone);
        gone = co_await rig_.node().delete_subsystem(kNqn);
        EXPECT_TRUE(gone);
        for (const char* volume : {"first", "second"}) {
            const auto deleted = co_await rig_.node().delete_volume(volume);
            EXPECT_TRUE(deleted);
        }
    });
}

TEST_F(VfioNvmeNodeTest, AllQueuesAndManyNamespaces_reachTheirVolumes) {
    constexpr std::uint16_t kPairs = 64;
    constexpr std::uint32_t kSpaces = 256;
    spec_.io_queues = kPairs;
    serve(1);
    rig_.run([&]() -> Task<> {
        for (std::uint32_t nsid = 2; nsid <= kSpaces; ++nsid) {
            const std::string name = "volume" + std::to_string(nsid);
            co_await add_volume(name, 1);
            const auto added = co_await add_namespace(name, 0);
            EXPECT_EQ(added.value_or(0), nsid);
        }
    });
    NvmeGuest guest({.path = spec_.socket_path});
    ASSERT_TRUE(guest.start(kPairs, 128)) << guest.error();
    const auto list = guest.identify(2);
    ASSERT_TRUE(list.has_value());
    const std::uint64_t data = guest.allocate(4096);
    const auto io = [&](IoOpcode opcode, std::uint32_t nsid) {
        nvme::spec::Command command = NvmeGuest::io(opcode, 0, 1, nsid);
        guest.point(command, data, 512);
        return guest.status_of(guest.queue(static_cast<std::uint16_t>(1 + nsid % kPairs)), command);
    };
    for (std::uint32_t nsid = 1; nsid <= kSpaces; ++nsid) {
        std::uint32_t listed = 0;
        std::memcpy(&listed, list->data() + (nsid - 1) * sizeof(listed), sizeof(listed));
        EXPECT_EQ(listed, nsid);
        std::memcpy(guest.at(data), &nsid, sizeof(nsid));
        EXPECT_EQ(io(IoOpcode::Write, nsid), 0) << nsid;
    }
    for (std::uint32_t nsid = kSpaces; nsid > 0; --nsid) {
        std::uint32_t found = 0;
        EXPECT_EQ(io(IoOpcode::Read, nsid), 0) << nsid;
        std::memcpy(&found, guest.at(data), sizeof(found));
        EXPECT_EQ(found, nsid);
    }
}

// A few requests at a rate of few: the guest waits, and is told how long.
TEST_F(VfioNvmeNodeTest, Rates_holdTheGuestBack) {
    spec_.rates.all_ops = 100;
    serve(1);
    NvmeGuest guest({.path = spec_.socket_path});
    ASSERT_TRUE(guest.start(1)) << guest.error();
    const std::uint64_t data = guest.allocate(4096);
    nvme::spec::Command read = NvmeGuest::io(IoOpcode::Read, 0, 8);
    guest.point(read, data, 4096);
    for (int i = 0; i < 20; ++i) {
        EXPECT_EQ(guest.status_of(guest.queue(1), read), 0);
    }
    rig_.run([&]() -> Task<> {
        auto stats = co_await rig_.node().vfio_nvme_stats("nvme0");
        EXPECT_GT(stats->throttled_ns, 100'000'000U);
        const auto before = stats->throttled_ns;
        const auto set = co_await rig_.node().set_vfio_nvme_rates("nvme0", {});
        EXPECT_TRUE(set);
        stats = co_await rig_.node().vfio_nvme_stats("nvme0");
        EXPECT_EQ(stats->throttled_ns, before);
    });
    EXPECT_EQ(guest.status_of(guest.queue(1), read), 0);
}

}  // namespace
}  // namespace remora::node
