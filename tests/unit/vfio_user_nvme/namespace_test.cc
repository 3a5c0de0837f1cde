// SPDX-License-Identifier: Apache-2.0
// Namespaces that come, go and grow under a running host.
#include <cstring>

#include "tests/unit/vfio_user_nvme/nvme_fixture.h"

namespace remora::test {
namespace {

class VfioNvmeNamespaceTest : public VfioNvmeTest {
  public:
    void start() {
        make_controller();
        guest = std::make_unique<NvmeGuest>(guest_options());
        ASSERT_TRUE(guest->start(1)) << guest->error();
        ask_for_event(*guest);
        EXPECT_FALSE(guest->wait(guest->queue(0), 20).has_value());
    }
    /// The event came, and the log names this namespace alone.
    void expect_changed(std::uint32_t nsid) {
        VfioNvmeTest::expect_changed(*guest, std::array{nsid});
    }
    std::uint16_t flush(std::uint32_t nsid) {
        return guest->status_of(guest->queue(1), NvmeGuest::io(IoOpcode::Flush, 0, 1, nsid));
    }
    std::unique_ptr<NvmeGuest> guest;
};

TEST_F(VfioNvmeNamespaceTest, Added_isToldAndUsable) {
    start();
    EXPECT_EQ(flush(2), refused(StatusCode::InvalidNamespace));
    add_namespace(2, geometry(4096));
    expect_changed(2);
    EXPECT_EQ(flush(2), 0);
    spec::IdentifyNamespace page;
    const auto bytes = guest->identify(0, 2);
    std::memcpy(&page, bytes->data(), sizeof(page));
    EXPECT_EQ(page.lbaf[0].lba_shift, 12);
}

TEST_F(VfioNvmeNamespaceTest, Removed_isToldAndItsCommandsEndFirst) {
    start();
    on_reactor([this] { devices[0]->hold(true); });
    guest->push(guest->queue(1), NvmeGuest::io(IoOpcode::Flush, 0, 1));
    guest->ring(guest->queue(1));
    ASSERT_TRUE(eventually([this] { return devices[0]->held() == 1; }));
    EXPECT_FALSE(remove_namespace(1, std::chrono::milliseconds(10)).has_value());
    expect_changed(1);
    EXPECT_EQ(flush(1), refused(StatusCode::InvalidNamespace));
    on_reactor([this] { devices[0]->hold(false); });
    EXPECT_EQ(guest->wait(guest->queue(1))->status(), 0);
    EXPECT_TRUE(remove_namespace(1, std::chrono::seconds(5)).has_value());
    EXPECT_FALSE(remove_namespace(1, std::chrono::seconds(5)).has_value());
}

TEST_F(VfioNvmeNamespaceTest, Grown_isToldAndReadable) {
    start();
    block::Geometry larger = geometry();
    larger.block_count = kBlocks + 8;
    EXPECT_NE(guest->status_of(guest->queue(1), NvmeGuest::io(IoOpcode::Verify, kBlocks, 1)), 0);
    larger.block_count = kBlocks - 8;  // the SlowDevice has no more: it shrinks instead
    on_reactor([&] { devices[0]->set_geometry(larger); });
    expect_changed(1);
    EXPECT_EQ(guest->status_of(guest->queue(1), NvmeGuest::io(IoOpcode::Verify, kBlocks - 8, 1)),
              refused(StatusCode::LbaOutOfRange));
    spec::IdentifyNamespace page;
    const auto bytes = guest->identify(0, 1);
    std::memcpy(&page, bytes->data(), sizeof(page));
    EXPECT_EQ(page.nsze, kBlocks - 8);
}

TEST_F(VfioNvmeNamespaceTest, Nsid_outOfRangeOrTaken_isRefused) {
    start();
    on_reactor([this] {
        nvme::Namespace from;
        for (const std::uint32_t nsid : {0U, 1U, 33U}) {
            from.nsid = nsid;
            EXPECT_FALSE(controller->add_namespace(from, *devices[0]).has_value());
        }
    });
}

}  // namespace
}  // namespace remora::test
