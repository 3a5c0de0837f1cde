// SPDX-License-Identifier: Apache-2.0
// Hosts that answer late or not at all, guests that do not let go, and what others do meanwhile:
// nothing is served to nobody, nothing plugged that nobody serves, no disk written by two.
#include "tests/unit/control/plane_fixture.h"

namespace remora::test {

namespace {

using control::ControlPlane;
using control::Status;
using control::VirtioBlks;
using control::Volumes;
using google::protobuf::Empty;

/// A call that is under way; it must be waited for.
template <typename Response>
class Pending {
  public:
    template <typename Part, typename Request>
    Pending(PlaneFixture& fixture,
            Part ControlPlane::* part,
            Task<Result<Response>> (Part::*method)(const Request&),
            const Request& request)
        : fixture_(fixture) {
        fixture.reactor().post_function([this, part, method, request] {
            gate_.spawn(
                [](Pending* self, Part* of, Task<Result<Response>> (Part::*what)(const Request&),
                   Request with) -> Task<> { self->answer_ = co_await (of->*what)(with); },
                this, &((*fixture_.plane).*part), method, request);
        });
        fixture.turn(2);
    }

    const Result<Response>& wait() {
        fixture_.turn_until([this] { return answer_.has_value(); });
        return *answer_;
    }

  private:
    PlaneFixture& fixture_;
    reactor::Gate gate_;
    std::optional<Result<Response>> answer_;
};

class HostTroubleTest : public PlaneFixture {
  public:
    Result<opi::VirtioBlk> create_disk(const std::string& volume, int function) {
        opi::CreateVirtioBlkRequest request;
        request.set_virtio_blk_id("disk-by-hand");
        auto& disk = *request.mutable_virtio_blk();
        disk.mutable_pcie_id()->mutable_port_id()->set_value(0);
        disk.mutable_pcie_id()->mutable_physical_function()->set_value(function);
        disk.mutable_pcie_id()->mutable_virtual_function()->set_value(0);
        disk.set_volume_name_ref(volume);
        return call(&ControlPlane::virtio_blks, &VirtioBlks::create, request);
    }
    [[nodiscard]] bool nothing_left() const {
        return store.size() == 0 && plugged.empty() && node->vhosts.empty() &&
               node->remotes.empty();
    }
};

TEST_F(HostTroubleTest, Detach_afterTheHostHasEnded_freesTheFunction) {
    ASSERT_TRUE(attach(1, 0));
    host->absent = true;
    EXPECT_KIND(detach(0), Unavailable) << "somebody is connected to the disk";
    node->front_ends_connected = false;
    plugged.clear();
    EXPECT_TRUE(detach(0));
    turn_until([&] { return nothing_left(); });
    host->absent = false;
    EXPECT_TRUE(attach(2, 0)) << "the function is free again";
}

TEST_F(HostTroubleTest, Attach_plugEndUnknown_isTakenBackAndLeavesNothing) {
    host->busy_guest = true;
    host->plugs_of_unknown_end = 1;

    EXPECT_KIND(attach(1, 0), DeadlineExceeded);
    turn_until([&] { return nothing_left(); });
    EXPECT_TRUE(attach(2, 0)) << "the function is free again";
}

TEST_F(HostTroubleTest, Attach_plugEndUnknownAndGuestBusy_isServedUntilItIsGone) {
    host->busy_guest = true;
    host->plugs_of_unknown_end = 1;
    host->refused_unplugs = 3;

    EXPECT_KIND(attach(1, 0), DeadlineExceeded);
    EXPECT_EQ(node->vhosts.size(), 1U);
    EXPECT_KIND(attach(2, 0), AlreadyExists);
    turn_until([&] { return nothing_left(); });
}

// A client gives up a call that waits, asks again, is told that the disk is gone, and makes it
// anew: the call it gave up is still there, and must not take the new one.
TEST_F(HostTroubleTest, Detach_waitedWhileTheDiskWasMadeAnew_leavesTheNewOne) {
    ASSERT_TRUE(attach(1, 0));
    ASSERT_TRUE(attach(2, 1));  // by the same remote controller
    host->slow_unplugs = {0, 1};
    api::DetachVolumeRequest first;
    first.set_host_function(0);
    api::DetachVolumeRequest second;
    second.set_host_function(1);
    Pending<Empty> ends(*this, &ControlPlane::attachments, &control::Attachments::detach, first);
    Pending<Empty> holds(*this, &ControlPlane::attachments, &control::Attachments::detach, second);
    Pending<Empty> given_up(*this, &ControlPlane::attachments, &control::Attachments::detach,
                            first);
    host->slow_unplugs.erase(0);
    EXPECT_TRUE(ends.wait());
    // It has the volume and the function at once, and overtakes the call that wants all three.
    Pending<api::Attachment> anew(*this, &ControlPlane::attachments, &control::Attachments::attach,
                                  attach_request(1, 0));

    host->slow_unplugs.clear();

    EXPECT_TRUE(holds.wait());
    EXPECT_TRUE(anew.wait());
    EXPECT_KIND(given_up.wait(), NotFound);
    EXPECT_TRUE(plugged.contains(0));
}

TEST_F(HostTroubleTest, Delete_waitedWhileTheDiskWasMadeAnew_leavesTheNewOne) {
    ASSERT_TRUE(create_malloc("m0"));
    ASSERT_TRUE(create_disk("m0", 0));
    host->slow_unplugs = {0};
    host->slow_plugs = {0};
    opi::DeleteVirtioBlkRequest request;
    request.set_name("volumes/disk-by-hand");
    Pending<Empty> ends(*this, &ControlPlane::virtio_blks, &VirtioBlks::remove, request);
    Pending<api::Attachment> holds(*this, &ControlPlane::attachments, &control::Attachments::attach,
                                   attach_request(1, 0));
    Pending<Empty> given_up(*this, &ControlPlane::virtio_blks, &VirtioBlks::remove, request);
    host->slow_unplugs.clear();
    EXPECT_TRUE(ends.wait());
    ASSERT_TRUE(create_disk("m0", 1));

    host->slow_plugs.clear();

    EXPECT_TRUE(holds.wait());
    EXPECT_KIND(given_up.wait(), NotFound);
    EXPECT_TRUE(plugged.contains(1));
}

TEST_F(HostTroubleTest, Detach_crashWhileTheGuestIsBusy_isFinishedAfterTheRestart) {
    busy_guest = true;
    ASSERT_TRUE(attach(1, 0));
    steps.crash_at = steps.taken + 2;  // commit, then unplug

    EXPECT_FALSE(detach(0));
    restart_plane();

    turn_until([&] { return nothing_left(); });
}

TEST_F(HostTroubleTest, Detach_remoteStillRead_diskGoesAndTheRestFollows) {
    ASSERT_TRUE(attach(1, 0));
    node->remotes_are_busy = true;

    const auto detached = detach(0);

    EXPECT_KIND(detached, FailedPrecondition);
    EXPECT_TRUE(plugged.empty());
    EXPECT_TRUE(node->vhosts.empty());
    node->remotes_are_busy = false;
    turn_until([&] { return nothing_left(); });
}

TEST_F(HostTroubleTest, Restart_diskThatCannotBeServed_isPluggedOnlyOnceItIs) {
    ASSERT_TRUE(attach(1, 0));
    plugged.clear();  // a new QEMU
    refuses_vhosts = true;
    restart_plane();
    turn(200);
    EXPECT_TRUE(plugged.empty());

    node->refuses_vhosts = false;

    turn_until([&] { return plugged.contains(0); });
}

TEST_F(HostTroubleTest, DeviceGoneUnasked_isPluggedAgain) {
    ASSERT_TRUE(attach(1, 0));
    turn(50);
    plugged.clear();
    ++host->changes;

    turn_until([&] { return plugged.contains(0); });
}

TEST_F(HostTroubleTest, DeviceGoneWhileTheHostIsLookedAt_isPluggedAgain) {
    ASSERT_TRUE(attach(1, 0));
    host->before_list_ends = [this] {
        plugged.clear();
        ++host->changes;
    };
    ++host->changes;  // reason for a look

    turn_until([&] { return !plugged.contains(0); });
    turn_until([&] { return plugged.contains(0); });
}

TEST_F(HostTroubleTest, Restart_withFewerReactors_keepsTheDisksQueues) {
    reactors = 4;
    restart_plane();
    ASSERT_TRUE(attach(1, 0));
    ASSERT_EQ(node->vhosts.begin()->second.queues, 4U);

    reactors = 1;
    restart_plane();

    ASSERT_EQ(node->vhosts.size(), 1U);
    EXPECT_EQ(node->vhosts.begin()->second.queues, 4U);
}

TEST_F(HostTroubleTest, OneVolumeTwoWays_secondDiskIsRefused) {
    ASSERT_TRUE(connect_by_hand("ctrl0", kNqn));
    ASSERT_TRUE(create_disk("ctrl0n1", 1));

    EXPECT_KIND(attach(1, 0), FailedPrecondition);

    ASSERT_TRUE(attach(2, 0));
    EXPECT_KIND(create_disk("ctrl0n2", 2), AlreadyExists);  // the id is taken: another disk
    opi::DeleteVirtioBlkRequest request;
    request.set_name("virtioBlks/disk-by-hand");
    ASSERT_TRUE(call(&ControlPlane::virtio_blks, &VirtioBlks::remove, request));
    const auto second = create_disk("ctrl0n2", 2);
    EXPECT_KIND(second, FailedPrecondition);
    EXPECT_NE(second.error().message.find("attachments/0"), std::string::npos);
}

TEST_F(HostTroubleTest, DiskOnAnAttachmentsController_isRefused) {
    const auto attached = attach(1, 0);
    ASSERT_TRUE(attached);
    const std::string remote(control::last_segment(attached->remote_controller()));

    const auto disk = create_disk(remote + "n2", 1);

    EXPECT_KIND(disk, FailedPrecondition);
    EXPECT_NE(disk.error().message.find("attachments/0"), std::string::npos);
}

TEST_F(HostTroubleTest, ExportedRemoteNamespace_isRememberedOverARestart) {
    ASSERT_TRUE(connect_by_hand("ctrl0", kNqn));
    opi::CreateNvmeSubsystemRequest subsystem;
    subsystem.set_nvme_subsystem_id("s0");
    subsystem.mutable_nvme_subsystem()->mutable_spec()->set_nqn("nqn.2024-01.org.example:again");
    ASSERT_TRUE(call(&ControlPlane::subsystems, &control::Subsystems::create_subsystem, subsystem));
    network.targets[kTarget][1].spaces.push_back({99, uuid_of(99)});
    node->volumes["ctrl0n99"] = {"ctrl0n99", uuid_of(99), {512, 2048}};
    opi::CreateNvmeNamespaceRequest space;
    space.set_parent("nvmeSubsystems/s0");
    space.mutable_nvme_namespace()->mutable_spec()->set_volume_name_ref("ctrl0n99");
    ASSERT_TRUE(call(&ControlPlane::subsystems, &control::Subsystems::create_namespace, space));

    network.targets.clear();
    restart_plane();

    EXPECT_EQ(node->namespaces.size(), 1U);
}

// A namespace whose volume could not be built has no place on the data plane, and keeps its own.
TEST_F(HostTroubleTest, NamespaceNotRebuilt_itsIdentifierIsNotGivenAway) {
    ASSERT_TRUE(create_malloc("m0"));
    ASSERT_TRUE(create_malloc("m1"));
    opi::CreateNvmeSubsystemRequest subsystem;
    subsystem.set_nvme_subsystem_id("s0");
    subsystem.mutable_nvme_subsystem()->mutable_spec()->set_nqn("nqn.2024-01.org.example:again");
    ASSERT_TRUE(call(&ControlPlane::subsystems, &control::Subsystems::create_subsystem, subsystem));
    const auto create = [this](const std::string& volume, int nsid) {
        opi::CreateNvmeNamespaceRequest space;
        space.set_parent("nvmeSubsystems/s0");
        space.mutable_nvme_namespace()->mutable_spec()->set_volume_name_ref(volume);
        space.mutable_nvme_namespace()->mutable_spec()->set_host_nsid(nsid);
        return call(&ControlPlane::subsystems, &control::Subsystems::create_namespace, space);
    };
    const auto first = create("m0", 0);
    ASSERT_TRUE(first);
    ASSERT_EQ(first->spec().host_nsid(), 1);
    node->namespaces.clear();  // as after a restart that could not open its volume

    EXPECT_KIND(create("m1", 1), AlreadyExists);
    const auto second = create("m1", 0);
    ASSERT_TRUE(second);
    EXPECT_EQ(second->spec().host_nsid(), 2);

    opi::DeleteNvmeNamespaceRequest request;
    request.set_name(first->name());
    ASSERT_TRUE(call(&ControlPlane::subsystems, &control::Subsystems::delete_namespace, request));
    EXPECT_EQ(node->namespaces.size(), 1U);
}

TEST_F(HostTroubleTest, WriteBenchmark_keepsNewDisksOffTheVolume) {
    ASSERT_TRUE(create_malloc("m0"));
    api::RunBenchmarkRequest request;
    request.set_volume_name_ref("m0");
    request.set_pattern(api::RunBenchmarkRequest::PATTERN_WRITE);
    request.set_io_bytes(4096);
    request.set_queue_depth(1);
    request.set_seconds(1);
    bool ended = false;
    reactor::Gate gate;
    struct Load {
        static Task<> go(ControlPlane* plane, api::RunBenchmarkRequest request, bool* done) {
            const auto result = co_await plane->status.run_benchmark(request);
            EXPECT_TRUE(result);
            *done = true;
        }
    };
    reactor().post_function([&] { (void)gate.spawn(&Load::go, plane.get(), request, &ended); });
    turn(2);
    ASSERT_FALSE(ended);

    EXPECT_KIND(create_disk("m0", 0), FailedPrecondition);
    turn_until([&] { return ended; });
    turn(2);
    EXPECT_TRUE(create_disk("m0", 0));
}

}  // namespace

}  // namespace remora::test
