// SPDX-License-Identifier: Apache-2.0
// Version, information, regions and interrupts over a real socket.
#include "vfio_user/session.h"

#include <cerrno>
#include <cstring>

#include "tests/unit/vfio_user/session_fixture.h"

namespace remora::test {
namespace {

using namespace vfio_user;

constexpr std::uint32_t kTriggerEvents = kIrqDataEventfd | kIrqActionTrigger;

TEST_F(SessionTest, Version_isAnsweredWithZeroAndCapabilities) {
    const auto capabilities = client->negotiate();
    ASSERT_TRUE(capabilities.has_value());
    EXPECT_NE(capabilities->find("\"max_msg_fds\":16"), std::string::npos);
    EXPECT_NE(capabilities->find("\"write_multiple\":true"), std::string::npos);
}

TEST_F(SessionTest, Version_askedTwice_isRefused) {
    negotiate();
    const auto reply = client->call_with(Command::Version, Version{});
    ASSERT_TRUE(reply.has_value());
    EXPECT_EQ(reply->error(), EINVAL);
}

TEST_F(SessionTest, Command_beforeTheVersion_closes) {
    client->send(Command::DeviceGetInfo);
    EXPECT_TRUE(client->closed_by_peer());
}

TEST_F(SessionTest, Version_ofAnotherMajor_closes) {
    Version other;
    other.major = std::uint16_t{1};
    client->send(Command::Version, core::as_bytes_of(other));
    EXPECT_TRUE(client->closed_by_peer());
}

TEST_F(SessionTest, Version_withoutTerminatingZero_closes) {
    const std::array<std::byte, 6> payload{{{}, {}, {}, {}, std::byte{'{'}, std::byte{'}'}}};
    client->send(Command::Version, payload);
    EXPECT_TRUE(client->closed_by_peer());
}

TEST_F(SessionTest, Header_thatNoClientSends_closes) {
    Header header;
    header.size = static_cast<std::uint32_t>(sizeof(header) + kMaxPayloadBytes + 1);
    client->send_bytes(core::as_bytes_of(header));
    EXPECT_TRUE(client->closed_by_peer());
}

TEST_F(SessionTest, Reply_thatAnswersNothing_closes) {
    negotiate();
    client->send(Command::DmaRead, {}, {}, header_flags::kReply);
    EXPECT_TRUE(client->closed_by_peer());
}

TEST_F(SessionTest, DeviceInfo_tellsOfAPciDevice) {
    negotiate();
    DeviceInfo info;
    info.argsz = static_cast<std::uint32_t>(sizeof(info));
    const auto reply = client->call_with(Command::DeviceGetInfo, info);
    const auto got = reply->as<DeviceInfo>();
    ASSERT_TRUE(got.has_value());
    EXPECT_EQ(got->flags, kDevicePci | kDeviceReset);
    EXPECT_EQ(got->regions, kRegionCount);
    EXPECT_EQ(got->irqs, kIrqCount);
    info.argsz = 8U;
    EXPECT_EQ(client->call_with(Command::DeviceGetInfo, info)->error(), EINVAL);
}

TEST_F(SessionTest, RegionInfo_withLittleRoom_tellsHowMuchItTakes) {
    negotiate();
    const auto reply = client->region_info(kRegionBar0, sizeof(RegionInfo));
    const auto info = reply->as<RegionInfo>();
    ASSERT_TRUE(info.has_value());
    EXPECT_EQ(reply->payload.size(), sizeof(RegionInfo));
    EXPECT_EQ(info->argsz, kMaxRegionInfoBytes);
    EXPECT_EQ(info->cap_offset, sizeof(RegionInfo));
    EXPECT_EQ(info->flags, kRegionRead | kRegionWrite | kRegionMmap | kRegionCaps);
}

TEST_F(SessionTest, RegionInfo_withRoom_hasTheMappablePartAndItsHandle) {
    negotiate();
    auto reply = client->region_info(kRegionBar0, kMaxRegionInfoBytes);
    ASSERT_EQ(reply->payload.size(), kMaxRegionInfoBytes);
    ASSERT_EQ(reply->fds.size(), 1U);
    SparseMmap sparse;
    SparseArea area;
    std::memcpy(&sparse, reply->payload.data() + sizeof(RegionInfo), sizeof(sparse));
    std::memcpy(&area, reply->payload.data() + sizeof(RegionInfo) + sizeof(sparse), sizeof(area));
    EXPECT_EQ(sparse.id, kCapSparseMmap);
    EXPECT_EQ(sparse.areas, 1U);
    EXPECT_EQ(area.offset, 0x1000U);
    const SharedRam mapped(std::move(reply->fds[0]), area.offset, area.size);
    EXPECT_EQ(mapped.bytes().size(), 0x1000U);
}

TEST_F(SessionTest, RegionInfo_ofOtherRegions_isPlain) {
    negotiate();
    EXPECT_EQ(client->region_info(kRegionConfig, 64)->payload.size(), sizeof(RegionInfo));
    EXPECT_EQ(client->region_info(3, 64)->as<RegionInfo>()->size, 0U);
    EXPECT_EQ(client->region_info(kRegionCount, 64)->error(), EINVAL);
    EXPECT_EQ(client->region_info(0, 31)->error(), EINVAL);
}

TEST_F(SessionTest, RegionAccess_readsWhatWasWritten) {
    negotiate();
    EXPECT_EQ(client->write_as<std::uint32_t>(kRegionBar0, 0x14, 0x12345678), 0);
    EXPECT_EQ(client->read_as<std::uint32_t>(kRegionBar0, 0x14), 0x12345678U);
    std::array<std::byte, 4096> all{};
    EXPECT_EQ(client->read(kRegionConfig, 0, all), 0);
}

TEST_F(SessionTest, RegionAccess_outside_isRefused) {
    negotiate();
    EXPECT_FALSE(client->read_as<std::uint32_t>(kRegionBar0, 0x3ffe).has_value());
    EXPECT_FALSE(client->read_as<std::uint32_t>(kRegionBar0, ~std::uint64_t{0} - 1).has_value());
    EXPECT_FALSE(client->read_as<std::uint32_t>(1, 0).has_value());
    EXPECT_FALSE(client->read_as<std::uint32_t>(99, 0).has_value());
    EXPECT_EQ(client->write_as<std::uint32_t>(kRegionConfig, 0xffd, 1), EINVAL);
    RegionAccess lying;
    lying.count = 64U;  // without so much data
    EXPECT_EQ(client->call_with(Command::RegionWrite, lying)->error(), EINVAL);
    EXPECT_EQ(on_reactor([this] { return device.writes; }), 0);
    device.refuse = true;
    EXPECT_EQ(client->write_as<std::uint32_t>(kRegionBar0, 0, 1), EINVAL);
}

TEST_F(SessionTest, WriteMulti_writesAllAndNeedsNoReply) {
    negotiate();
    struct {
        WriteMulti many;
        SingleWrite writes[2];
    } payload;
    payload.many.count = 2U;
    for (unsigned i = 0; i < 2; ++i) {
        payload.writes[i].access.offset = 8U * i;
        payload.writes[i].access.count = 4U;
        payload.writes[i].data[0] = std::byte{static_cast<unsigned char>(i + 1)};
    }
    client->send(Command::RegionWriteMulti, core::as_bytes_of(payload), {}, header_flags::kNoReply);
    EXPECT_EQ(client->read_as<std::uint8_t>(kRegionBar0, 8), 2);
    payload.many.count = 3U;
    EXPECT_EQ(client->call_with(Command::RegionWriteMulti, payload)->error(), EINVAL);
    payload.many.count = 2U;
    payload.writes[0].access.count = 9U;
    EXPECT_EQ(client->call_with(Command::RegionWriteMulti, payload)->error(), EINVAL);
}

TEST_F(SessionTest, Pipelined_commands_areAnsweredInOrder) {
    negotiate();
    RegionAccess access;
    access.count = 4U;
    std::vector<std::uint16_t> sent;
    for (int i = 0; i < 500; ++i) {
        sent.push_back(client->send(Command::RegionRead, core::as_bytes_of(access)));
    }
    for (const std::uint16_t id : sent) {
        const auto reply = client->receive();
        ASSERT_TRUE(reply.has_value());
        ASSERT_EQ(reply->header.id, id);
    }
}

TEST_F(SessionTest, Unknown_commands_areRefused) {
    negotiate();
    for (const unsigned command : {0U, 6U, 11U, 14U, 16U, 17U, 19U, 0xffffU}) {
        const auto reply = client->call(static_cast<Command>(command));
        ASSERT_TRUE(reply.has_value());
        EXPECT_NE(reply->error(), 0) << command;
    }
}

TEST_F(SessionTest, IrqInfo_countsTheVectors) {
    negotiate();
    EXPECT_EQ(client->irq_info(kIrqMsix)->count, kVectors);
    EXPECT_EQ(client->irq_info(kIrqIntx)->count, 1U);
    EXPECT_EQ(client->irq_info(kIrqMsi)->count, 0U);
    EXPECT_NE(client->irq_info(kIrqIntx)->flags & kIrqAutomasked, 0U);
    EXPECT_FALSE(client->irq_info(kIrqCount).has_value());
}

TEST_F(SessionTest, Msix_raised_signalsItsListener) {
    negotiate();
    const Fd event = make_eventfd();
    const std::array<int, 1> fds{event.get()};
    EXPECT_EQ(client->set_irqs(kIrqMsix, kTriggerEvents, 3, 1, fds), 0);
    on_reactor([this] { return session->irqs().raise(3), 0; });
    EXPECT_TRUE(wait_eventfd(event, 5000));
    EXPECT_EQ(on_reactor([this] { return session->irqs().pending(0); }), 0U);
}

TEST_F(SessionTest, Msix_raisedBeforeAnybodyListens_pends) {
    negotiate();
    on_reactor([this] { return session->irqs().raise(5), 0; });
    EXPECT_EQ(on_reactor([this] { return session->irqs().pending(0); }), 1U << 5U);
    const Fd event = make_eventfd();
    const std::array<int, 1> fds{event.get()};
    EXPECT_EQ(client->set_irqs(kIrqMsix, kTriggerEvents, 5, 1, fds), 0);
    EXPECT_TRUE(wait_eventfd(event, 5000));
    EXPECT_EQ(client->set_irqs(kIrqMsix, kIrqDataNone | kIrqActionMask, 5, 1), 0);
    on_reactor([this] { return session->irqs().raise(5), 0; });
    EXPECT_FALSE(wait_eventfd(event, 0));
    EXPECT_EQ(client->set_irqs(kIrqMsix, kIrqDataNone | kIrqActionUnmask, 5, 1), 0);
    EXPECT_TRUE(wait_eventfd(event, 5000));
    EXPECT_EQ(client->set_irqs(kIrqMsix, kIrqDataNone | kIrqActionTrigger, 0, 0), 0);
    EXPECT_FALSE(on_reactor([this] { return session->irqs().has_msix(); }));
}

TEST_F(SessionTest, Intx_isToldOnceUntilUnmasked) {
    negotiate();
    const Fd event = make_eventfd();
    const std::array<int, 1> fds{event.get()};
    EXPECT_EQ(client->set_irqs(kIrqIntx, kTriggerEvents, 0, 1, fds), 0);
    on_reactor([this] { return session->irqs().set_intx_level(true), 0; });
    EXPECT_TRUE(wait_eventfd(event, 5000));
    on_reactor([this] { return session->irqs().set_intx_level(true), 0; });
    EXPECT_FALSE(wait_eventfd(event, 0));
    EXPECT_EQ(client->set_irqs(kIrqIntx, kIrqDataNone | kIrqActionUnmask, 0, 1), 0);
    EXPECT_TRUE(wait_eventfd(event, 5000));  // the level was still high
    on_reactor([this] { return session->irqs().set_intx_level(false), 0; });
    EXPECT_EQ(client->set_irqs(kIrqIntx, kIrqDataNone | kIrqActionUnmask, 0, 1), 0);
    EXPECT_FALSE(wait_eventfd(event, 0));
}

TEST_F(SessionTest, Intx_isUnmaskedByACounterToo) {
    negotiate();
    const Fd event = make_eventfd();
    const Fd unmask = make_eventfd();
    const std::array<int, 1> fds{event.get()};
    const std::array<int, 1> unmask_fds{unmask.get()};
    EXPECT_EQ(client->set_irqs(kIrqIntx, kTriggerEvents, 0, 1, fds), 0);
    EXPECT_EQ(client->set_irqs(kIrqIntx, kIrqDataEventfd | kIrqActionUnmask, 0, 1, unmask_fds), 0);
    on_reactor([this] { return session->irqs().set_intx_level(true), 0; });
    EXPECT_TRUE(wait_eventfd(event, 5000));
    signal_eventfd(unmask);
    EXPECT_TRUE(wait_eventfd(event, 5000));
}

TEST_F(SessionTest, SetIrqs_thatMakesNoSense_isRefused) {
    negotiate();
    const Fd event = make_eventfd();
    const std::array<int, 2> two{event.get(), event.get()};
    EXPECT_EQ(client->set_irqs(kIrqMsix, kTriggerEvents, 0, 1, two), EINVAL);
    EXPECT_EQ(client->set_irqs(kIrqMsix, kTriggerEvents, kVectors, 1), EINVAL);
    EXPECT_EQ(client->set_irqs(kIrqMsix, kTriggerEvents, 1, 0xffffffff), EINVAL);
    EXPECT_EQ(client->set_irqs(kIrqMsix, kTriggerEvents, 0xffffffff, 1), EINVAL);
    EXPECT_EQ(client->set_irqs(kIrqMsix, kIrqDataNone | kIrqDataBool | kIrqActionMask, 0, 1),
              EINVAL);
    EXPECT_EQ(client->set_irqs(kIrqMsix, kIrqDataBool | kIrqActionMask, 0, 2), EINVAL);  // no data
    EXPECT_EQ(client->set_irqs(kIrqMsix, 0x8000, 0, 1), EINVAL);
    EXPECT_EQ(client->set_irqs(kIrqCount, kIrqDataNone | kIrqActionTrigger, 0, 0), EINVAL);
    const Fd not_an_event(dup(client->fd()));
    const std::array<int, 1> wrong{not_an_event.get()};
    EXPECT_EQ(client->set_irqs(kIrqMsix, kTriggerEvents, 0, 1, wrong), EINVAL);
}

TEST_F(SessionTest, Reset_waitsUntilTheDeviceIsIdle) {
    negotiate();
    on_reactor([this] { return device.idle = false; });
    client->send(Command::DeviceReset);
    EXPECT_TRUE(eventually([this] { return device.resets == 1; }));
    EXPECT_FALSE(client->receive(50).has_value());
    on_reactor([this] {
        device.idle = true;
        session->on_reset_done();
        return 0;
    });
    EXPECT_EQ(client->receive()->error(), 0);
    EXPECT_EQ(client->reset(), 0);
}

TEST_F(SessionTest, ClientGone_withRequestsUnderWay_waitsForThem) {
    negotiate();
    on_reactor([this] { return device.idle = false; });
    client->disconnect();
    EXPECT_TRUE(eventually([this] { return device.stops == std::vector<bool>{false}; }));
    EXPECT_FALSE(on_reactor([this] { return device.ended; }));
    on_reactor([this] {
        device.idle = true;
        session->on_stopped();
        return 0;
    });
    EXPECT_TRUE(eventually([this] { return device.ended; }));
}

TEST_F(SessionTest, ShutDown_letsTheDevicePublishFirst) {
    negotiate();
    on_reactor([this] { return session->shut_down(), 0; });
    EXPECT_TRUE(client->closed_by_peer());
    EXPECT_TRUE(eventually([this] { return device.ended; }));
    EXPECT_EQ(device.stops, (std::vector<bool>{true, false}));
}

}  // namespace
}  // namespace remora::test
