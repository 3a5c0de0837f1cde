// SPDX-License-Identifier: Apache-2.0
// What one remorad gives to the next, as bytes.
#include "control/handover.h"

#include <gtest/gtest.h>

namespace remora::test {
namespace {

using control::Handover;

/// Every member is another value, and none the one that is left out.
Handover full() {
    Handover handover;
    node::FrozenFunction& function = handover.functions.emplace_back();
    function.name = "nvme0";
    function.controller.connection = 3;
    vfio_user::SessionState& session = function.controller.session;
    session.connection.received = {std::byte{0}, std::byte{255}};
    session.connection.handles = {4};
    vfio_user::MemoryState& memory = session.memory.emplace_back();
    memory.request.argsz = static_cast<std::uint32_t>(sizeof(memory.request));
    memory.request.flags = 3U;
    memory.request.offset = 0x1000U;
    memory.request.address = 0x1'0000'0000U;
    memory.request.size = 0x2000U;
    memory.handle = 0;
    session.memory.emplace_back(memory).handle = reactor::kNoHandle;
    session.irqs.lines.push_back({.index = 2, .number = 7, .event = 5, .masked = true});
    session.irqs.lines.push_back({.index = 2, .number = 8, .pending = true});
    session.irqs.unmask_event = 6;
    session.irqs.intx_high = true;
    auto& state = function.controller.function;
    state.config = {std::byte{1}};
    state.msix_table = {std::byte{2}};
    state.interrupt_mask = 1;
    state.aqa = 2;
    state.asq = 3;
    state.acq = 4;
    state.doorbells = 7;
    state.shadow_values = 5;
    state.shadow_events = 6;
    state.controller = {.cc = 1,
                        .csts = 2,
                        .event_config = 3,
                        .namespace_pending = true,
                        .namespace_masked = true,
                        .changed_overflow = true,
                        .error_pending = true,
                        .error_masked = true,
                        .error_event = 0x10001,
                        .changed = {4, 5},
                        .features = {6, 0},
                        .not_coalesced = {7},
                        .event_requests = {8, 9}};
    state.completions.push_back({1, 2, 3, true, 4, 5, 6, false, true});
    state.submissions.push_back({1, 2, 3, 4, 5, true});
    state.namespaces = {1, 2};
    return handover;
}

TEST(Handover, Bytes_areReadAsTheyWere) {
    const std::string bytes = encode_handover(full());
    const auto read = control::decode_handover(bytes);
    ASSERT_TRUE(read.has_value());
    EXPECT_EQ(encode_handover(*read), bytes);
    const auto& function = read->functions.at(0);
    EXPECT_EQ(function.name, "nvme0");
    EXPECT_EQ(function.controller.session.connection.received.size(), 2U);
    EXPECT_EQ(function.controller.session.memory[0].request.size, 0x2000U);
    EXPECT_EQ(function.controller.session.memory[0].handle, 0);
    EXPECT_EQ(function.controller.session.memory[1].handle, reactor::kNoHandle);
    EXPECT_EQ(function.controller.session.irqs.lines[1].event, reactor::kNoHandle);
    EXPECT_TRUE(function.controller.session.irqs.lines[1].pending);
    EXPECT_EQ(function.controller.function.controller.event_requests[1], 9U);
    EXPECT_TRUE(function.controller.function.controller.error_pending);
    EXPECT_TRUE(function.controller.function.controller.error_masked);
    EXPECT_EQ(function.controller.function.controller.error_event, 0x10001U);
    const auto& completions = function.controller.function.completions[0];
    EXPECT_EQ(completions.vector, 4U);
    EXPECT_EQ(completions.tail, 5U);
    EXPECT_EQ(completions.head, 6U);
    EXPECT_FALSE(completions.phase);
    EXPECT_EQ(function.controller.function.submissions[0].head, 5U);
}

TEST(Handover, Handles_areAllNamed) {
    EXPECT_EQ(control::handles_of(full()), (std::vector<reactor::Handle>{3, 7, 6, 4, 0, 5}));
}

TEST(Handover, WhatIsNone_isRefused) {
    const auto read = control::decode_handover("\xff\xff\xff");
    ASSERT_FALSE(read.has_value());
    EXPECT_EQ(read.error().kind, core::ErrorKind::DataLoss);
}

}  // namespace
}  // namespace remora::test
