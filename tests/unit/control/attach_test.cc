// SPDX-License-Identifier: Apache-2.0
// AttachVolume and DetachVolume over fakes: what a client sees, conflicts, and that every failure
// and every crash leaves the attachment wholly there or wholly gone.
#include <algorithm>

#include "tests/unit/control/plane_fixture.h"

namespace remora::test {

namespace {

class AttachTest : public PlaneFixture {
  public:
    void expect_nothing() {
        EXPECT_EQ(store.size(), 0U);
        EXPECT_TRUE(plugged.empty());
        EXPECT_TRUE(node->remotes.empty());
        EXPECT_TRUE(node->vhosts.empty());
    }
    void expect_attached(std::uint32_t function) {
        EXPECT_TRUE(plugged.contains(function));
        EXPECT_EQ(node->remotes.size(), 1U);
        EXPECT_EQ(node->vhosts.size(), 1U);
        EXPECT_EQ(store.size(), 4U);  // attachment, virtio-blk, remote controller, path
    }
};

TEST_F(AttachTest, Attach_freeFunction_returnsTheDisk) {
    const auto disk = attach(3, 5);

    ASSERT_TRUE(disk) << disk.error().message;
    EXPECT_EQ(disk->name(), "attachments/5");
    EXPECT_EQ(disk->state(), api::Attachment::STATE_ATTACHED);
    EXPECT_EQ(disk->volume_uuid(), uuid_of(3).text());
    EXPECT_EQ(disk->serial(), "11000000000000000000");
    EXPECT_EQ(disk->subsystem_nqn(), kNqn);
    EXPECT_EQ(disk->nsid(), 3U);
    EXPECT_EQ(disk->size_bytes(), 2048U * 512U);
    EXPECT_EQ(disk->pci_address(), "0000:00:5.0");
    EXPECT_EQ(plugged.at(5), disk->socket_path());
    expect_attached(5);
}

TEST_F(AttachTest, Attach_again_returnsTheSameDiskAndChangesNothing) {
    const auto first = attach(3, 5);
    const auto second = attach(3, 5);
    const auto anywhere = attach(3, -1);

    ASSERT_TRUE(first && second && anywhere);
    EXPECT_EQ(first->SerializeAsString(), second->SerializeAsString());
    EXPECT_EQ(first->SerializeAsString(), anywhere->SerializeAsString());
    expect_attached(5);
}

TEST_F(AttachTest, Attach_noFunctionGiven_takesTheLowestFree) {
    ASSERT_TRUE(attach(1, 0));
    ASSERT_TRUE(attach(2, 2));

    const auto disk = attach(3, -1);

    ASSERT_TRUE(disk);
    EXPECT_EQ(disk->host_function(), 1);
}

TEST_F(AttachTest, Attach_functionInUse_namesTheHolder) {
    ASSERT_TRUE(attach(1, 0));

    const auto second = attach(2, 0);

    EXPECT_KIND(second, AlreadyExists);
    EXPECT_NE(second.error().message.find(uuid_of(1).text()), std::string::npos);
    EXPECT_EQ(node->vhosts.size(), 1U);
}

TEST_F(AttachTest, Attach_volumeOnAnotherFunction_namesIt) {
    ASSERT_TRUE(attach(1, 0));

    const auto second = attach(1, 4);

    EXPECT_KIND(second, AlreadyExists);
    EXPECT_NE(second.error().message.find("attached to host function 0"), std::string::npos);
}

TEST_F(AttachTest, Attach_unknownVolume_isNotFoundAndLeavesNothing) {
    const auto disk = attach(200, 0);

    EXPECT_KIND(disk, NotFound);
    EXPECT_NE(disk.error().message.find(uuid_of(200).text()), std::string::npos);
    expect_nothing();
}

TEST_F(AttachTest, Attach_malformedArguments_areRefused) {
    auto bad_uuid = attach_request(1, 0);
    bad_uuid.set_volume_uuid("not-a-uuid");
    auto bad_address = attach_request(1, 0);
    bad_address.mutable_discovery()->set_traddr("nowhere");
    auto bad_nqn = attach_request(1, 0);
    bad_nqn.set_hostnqn("me");
    auto no_address = attach_request(1, 0);
    no_address.clear_discovery();

    for (const auto& request : {bad_uuid, bad_address, bad_nqn, no_address}) {
        const auto refused =
            call(&control::ControlPlane::attachments, &control::Attachments::attach, request);
        EXPECT_KIND(refused, InvalidArgument);
    }
    EXPECT_KIND(attach(1, 64), ResourceExhausted);
    expect_nothing();
}

TEST_F(AttachTest, Attach_unreachableEndpoint_isUnavailable) {
    auto request = attach_request(1, 0);
    request.mutable_discovery()->set_trsvcid("1");

    const auto disk =
        call(&control::ControlPlane::attachments, &control::Attachments::attach, request);

    EXPECT_KIND(disk, Unavailable);
    EXPECT_NE(disk.error().message.find("10.0.0.1:1"), std::string::npos);
    expect_nothing();
}

TEST_F(AttachTest, Attach_all64ThenOneMore_isResourceExhausted) {
    for (int i = 0; i < 64; ++i) {
        ASSERT_TRUE(attach(i + 1, i));
    }

    EXPECT_KIND(attach(65, -1), ResourceExhausted);
    EXPECT_EQ(node->remotes.size(), 1U) << "one subsystem, one remote controller";

    for (int i = 0; i < 64; ++i) {
        ASSERT_TRUE(detach(i));
    }
    expect_nothing();
}

TEST_F(AttachTest, Detach_sharedRemoteController_staysForTheOther) {
    ASSERT_TRUE(attach(1, 0));
    ASSERT_TRUE(attach(2, 1));

    ASSERT_TRUE(detach(0));

    EXPECT_EQ(node->remotes.size(), 1U);
    EXPECT_EQ(plugged.size(), 1U);
    ASSERT_TRUE(detach(1));
    expect_nothing();
}

TEST_F(AttachTest, Detach_whatIsNotAttached_isNotFoundUnlessAllowed) {
    EXPECT_KIND(detach(7), NotFound);
    api::DetachVolumeRequest request;
    request.set_volume_uuid(uuid_of(1).text());
    request.set_allow_missing(true);

    EXPECT_TRUE(call(&control::ControlPlane::attachments, &control::Attachments::detach, request));
}

TEST_F(AttachTest, Detach_guestDoesNotLetGo_keepsTheDisk) {
    ASSERT_TRUE(attach(1, 0));
    steps.fail_at = steps.taken + 2;  // commit, then unplug

    EXPECT_KIND(detach(0), Unavailable);
    expect_attached(0);
    EXPECT_TRUE(detach(0));
    expect_nothing();
}

TEST_F(AttachTest, Delete_whatAnAttachmentMade_isRefused) {
    const auto disk = attach(1, 0);
    ASSERT_TRUE(disk);
    opi::DeleteVirtioBlkRequest virtio;
    virtio.set_name(disk->virtio_blk());
    opi::DeleteNvmeRemoteControllerRequest remote;
    remote.set_name(disk->remote_controller());

    EXPECT_KIND(call(&control::ControlPlane::virtio_blks, &control::VirtioBlks::remove, virtio),
                FailedPrecondition);
    EXPECT_KIND(call(&control::ControlPlane::remotes, &control::Remotes::delete_controller, remote),
                FailedPrecondition);
}

TEST_F(AttachTest, Attach_raceOnOneFunction_hasExactlyOneWinner) {
    std::vector<Result<api::Attachment>> results;
    int ended = 0;
    reactor::Gate gate;
    struct Racer {
        static Task<> go(control::ControlPlane* plane,
                         int volume,
                         std::vector<Result<api::Attachment>>* out,
                         int* count) {
            const auto request = attach_request(volume, 0);
            out->push_back(co_await plane->attachments.attach(request));
            ++*count;
        }
    };
    reactor().post_function([&] {
        for (int volume = 1; volume <= 8; ++volume) {
            (void)gate.spawn(&Racer::go, plane.get(), volume, &results, &ended);
        }
    });
    turn_until([&] { return ended == 8; });
    turn(2);

    EXPECT_EQ(
        std::count_if(results.begin(), results.end(), [](const auto& r) { return r.has_value(); }),
        1);
    expect_attached(0);
}

TEST_F(AttachTest, Attach_anyStepFails_leavesNothing) {
    for (int step = 1;; ++step) {
        steps = {};
        steps.fail_at = step;
        const auto disk = attach(1, 0);
        const bool reached = steps.taken >= step;
        steps.fail_at = 0;
        if (disk) {
            // Trouble with a subsystem that does not have the volume stops nobody.
            expect_attached(0);
            ASSERT_TRUE(detach(0));
        }
        expect_nothing();
        if (!reached) {
            break;
        }
        ASSERT_LT(step, 100);
    }
}

TEST_F(AttachTest, Attach_crashAtAnyStep_isWhollyThereOrWhollyGone) {
    busy_guest = true;
    for (int step = 1;; ++step) {
        steps = {};
        steps.crash_at = step;
        const auto disk = attach(1, 0);
        const bool crashed = steps.taken >= step;
        restart_plane();
        turn_until([&] { return disk ? !plugged.empty() : store.size() == 0 && plugged.empty(); });
        if (disk) {
            expect_attached(0);
        } else {
            expect_nothing();
        }
        if (!crashed) {
            break;
        }
        ASSERT_LT(step, 100);
    }
}

// A guest with I/O under way lets go of a disk only while somebody serves it.
TEST_F(AttachTest, Detach_crashAtAnyStep_isWhollyThereOrWhollyGone) {
    busy_guest = true;
    for (int step = 1;; ++step) {
        steps = {};
        ASSERT_TRUE(attach(1, 0));
        steps = {};
        steps.crash_at = step;
        const auto done = detach(0);
        const bool crashed = steps.taken >= step;
        restart_plane();
        const bool intended = step > 1;  // Once the intent is stored there is no way back.
        if (intended) {
            turn_until([&] { return store.size() == 0 && plugged.empty(); });
            expect_nothing();
        } else {
            EXPECT_FALSE(done);
            expect_attached(0);
            steps = {};
            ASSERT_TRUE(detach(0));
        }
        if (!crashed) {
            break;
        }
        ASSERT_LT(step, 100);
    }
}

TEST_F(AttachTest, Restart_attachedDisks_areServedAtTheSameSockets) {
    const auto first = attach(1, 0);
    ASSERT_TRUE(first);
    ASSERT_TRUE(attach(2, 10));

    network.targets.clear();  // The target is away: the disks exist all the same.
    restart_plane();

    EXPECT_EQ(node->vhosts.at("attached-0-11000000").socket_path, first->socket_path());
    EXPECT_EQ(node->vhosts.size(), 2U);
    ASSERT_EQ(node->remotes.size(), 1U);
    EXPECT_EQ(node->remotes.begin()->second.paths.front().known.size(), 70U);
    EXPECT_EQ(plugged.size(), 2U);
}

TEST_F(AttachTest, Restart_hostLostItsDevices_plugsThemAgain) {
    ASSERT_TRUE(attach(1, 0));
    const auto before = plugged;
    plugged = {{9, "/somewhere/else"}};  // A stray of ours, and nothing that should be there.

    restart_plane();
    turn_until([&] { return plugged == before; });
}

}  // namespace

}  // namespace remora::test
