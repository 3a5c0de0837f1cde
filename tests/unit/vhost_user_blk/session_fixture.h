// SPDX-License-Identifier: Apache-2.0
// VhostSessionTest: a disk with two queues, and front ends that say wrong things to it.
#pragma once

#include "tests/unit/vhost_user_blk/vhost_fixture.h"

namespace remora::test {

namespace vu = virtio::vhost_user;

class VhostSessionTest : public VhostTest {
  public:
    VhostSessionTest() : disk(make_disk(2)) {}

    VhostFrontEnd make_front() {
        FrontEndOptions options = front_end_options(disk);
        options.queues = 2;
        return VhostFrontEnd(options);
    }
    /// Whether the device takes a front end and does I/O.
    bool still_serves() {
        VhostFrontEnd front = make_front();
        return front.connect() && perform(front, BlkType::In, 0, 512) == kOk;
    }
    /// Connects, lets `say` speak, and expects to be thrown out.
    template <typename F>
    void expect_closed(F say) {
        VhostFrontEnd front = make_front();
        ASSERT_TRUE(front.negotiate()) << front.error();
        say(front);
        EXPECT_TRUE(front.socket().closed_by_peer());
        front.disconnect();
        EXPECT_TRUE(still_serves());
    }
    static vu::VringState state(std::uint32_t index, std::uint32_t number) {
        vu::VringState made;
        made.index = index;
        made.number = number;
        return made;
    }

    Disk& disk;
};

}  // namespace remora::test
