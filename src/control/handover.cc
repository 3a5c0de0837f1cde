// SPDX-License-Identifier: Apache-2.0
#include "control/handover.h"

#include "remora/state/v1/handover.pb.h"

namespace remora::control {

namespace {

using frontends::vfio_user_nvme::CompletionQueueState;
using frontends::vfio_user_nvme::SubmissionQueueState;
using reactor::Handle;

/// In the message absent is 0, and means none.
std::uint32_t number(Handle handle) {
    return static_cast<std::uint32_t>(handle + 1);
}
Handle handle(std::uint32_t number) {
    return static_cast<Handle>(number) - 1;
}
std::string text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
std::vector<std::byte> bytes(const std::string& text) {
    const auto* data = reinterpret_cast<const std::byte*>(text.data());
    return {data, data + text.size()};
}

void encode_session(const vfio_user::SessionState& from, state::v1::HandedFunction& to) {
    to.set_received(text(from.connection.received));
    for (const Handle one : from.connection.handles) {
        to.add_received_handles(number(one));
    }
    for (const vfio_user::MemoryState& entry : from.memory) {
        state::v1::HandedMemory& memory = *to.add_memory();
        memory.set_address(entry.request.address);
        memory.set_size(entry.request.size);
        memory.set_offset(entry.request.offset);
        memory.set_flags(entry.request.flags);
        memory.set_handle(number(entry.handle));
    }
    for (const vfio_user::IrqLineState& saved : from.irqs.lines) {
        state::v1::HandedIrqLine& line = *to.add_lines();
        line.set_index(saved.index);
        line.set_number(saved.number);
        line.set_event(number(saved.event));
        line.set_masked(saved.masked);
        line.set_pending(saved.pending);
    }
    to.set_unmask_event(number(from.irqs.unmask_event));
    to.set_intx_high(from.irqs.intx_high);
}

vfio_user::SessionState decode_session(const state::v1::HandedFunction& from) {
    vfio_user::SessionState to;
    to.connection.received = bytes(from.received());
    for (const std::uint32_t one : from.received_handles()) {
        to.connection.handles.push_back(handle(one));
    }
    for (const state::v1::HandedMemory& memory : from.memory()) {
        vfio_user::MemoryState& entry = to.memory.emplace_back();
        entry.request.argsz = static_cast<std::uint32_t>(sizeof(entry.request));
        entry.request.address = memory.address();
        entry.request.size = memory.size();
        entry.request.offset = memory.offset();
        entry.request.flags = memory.flags();
        entry.handle = handle(memory.handle());
    }
    for (const state::v1::HandedIrqLine& line : from.lines()) {
        to.irqs.lines.push_back({.index = line.index(),
                                 .number = line.number(),
                                 .event = handle(line.event()),
                                 .masked = line.masked(),
                                 .pending = line.pending()});
    }
    to.irqs.unmask_event = handle(from.unmask_event());
    to.irqs.intx_high = from.intx_high();
    return to;
}

void encode_controller(const nvme::ControllerState& from, state::v1::HandedController& to) {
    to.set_cc(from.cc);
    to.set_csts(from.csts);
    to.set_event_config(from.event_config);
    to.set_namespace_pending(from.namespace_pending);
    to.set_namespace_masked(from.namespace_masked);
    to.set_changed_overflow(from.changed_overflow);
    to.set_error_pending(from.error_pending);
    to.set_error_masked(from.error_masked);
    to.set_error_event(from.error_event);
    to.mutable_changed()->Assign(from.changed.begin(), from.changed.end());
    to.mutable_features()->Assign(from.features.begin(), from.features.end());
    to.mutable_not_coalesced()->Assign(from.not_coalesced.begin(), from.not_coalesced.end());
    to.mutable_event_requests()->Assign(from.event_requests.begin(), from.event_requests.end());
}

nvme::ControllerState decode_controller(const state::v1::HandedController& from) {
    nvme::ControllerState to{.cc = from.cc(),
                             .csts = from.csts(),
                             .event_config = from.event_config(),
                             .namespace_pending = from.namespace_pending(),
                             .namespace_masked = from.namespace_masked(),
                             .changed_overflow = from.changed_overflow(),
                             .error_pending = from.error_pending(),
                             .error_masked = from.error_masked(),
                             .error_event = from.error_event(),
                             .changed = {from.changed().begin(), from.changed().end()},
                             .features = {from.features().begin(), from.features().end()},
                             .not_coalesced = {},
                             .event_requests = {}};
    for (const std::uint32_t vector : from.not_coalesced()) {
        to.not_coalesced.push_back(static_cast<std::uint16_t>(vector));
    }
    for (const std::uint32_t cid : from.event_requests()) {
        to.event_requests.push_back(static_cast<std::uint16_t>(cid));
    }
    return to;
}

void encode_queues(const frontends::vfio_user_nvme::FunctionState& from,
                   state::v1::HandedFunction& to) {
    for (const CompletionQueueState& saved : from.completions) {
        state::v1::HandedCompletionQueue& queue = *to.add_completions();
        queue.set_qid(saved.qid);
        queue.set_address(saved.address);
        queue.set_entries(saved.entries);
        queue.set_interrupts(saved.interrupts);
        queue.set_vector(saved.vector);
        queue.set_tail(saved.tail);
        queue.set_head(saved.head);
        queue.set_phase(saved.phase);
        queue.set_broken(saved.broken);
    }
    for (const SubmissionQueueState& saved : from.submissions) {
        state::v1::HandedSubmissionQueue& queue = *to.add_submissions();
        queue.set_qid(saved.qid);
        queue.set_cqid(saved.cqid);
        queue.set_address(saved.address);
        queue.set_entries(saved.entries);
        queue.set_head(saved.head);
        queue.set_broken(saved.broken);
    }
}

void decode_queues(const state::v1::HandedFunction& from,
                   frontends::vfio_user_nvme::FunctionState& to) {
    for (const state::v1::HandedCompletionQueue& queue : from.completions()) {
        to.completions.push_back({.qid = static_cast<std::uint16_t>(queue.qid()),
                                  .address = queue.address(),
                                  .entries = queue.entries(),
                                  .interrupts = queue.interrupts(),
                                  .vector = static_cast<std::uint16_t>(queue.vector()),
                                  .tail = queue.tail(),
                                  .head = queue.head(),
                                  .phase = queue.phase(),
                                  .broken = queue.broken()});
    }
    for (const state::v1::HandedSubmissionQueue& queue : from.submissions()) {
        to.submissions.push_back({.qid = static_cast<std::uint16_t>(queue.qid()),
                                  .cqid = static_cast<std::uint16_t>(queue.cqid()),
                                  .address = queue.address(),
                                  .entries = queue.entries(),
                                  .head = queue.head(),
                                  .broken = queue.broken()});
    }
}

void encode_function(const node::FrozenFunction& from, state::v1::HandedFunction& to) {
    const auto& function = from.controller.function;
    to.set_name(from.name);
    to.set_connection(number(from.controller.connection));
    encode_session(from.controller.session, to);
    to.set_config(text(function.config));
    to.set_msix_table(text(function.msix_table));
    to.set_interrupt_mask(function.interrupt_mask);
    to.set_aqa(function.aqa);
    to.set_asq(function.asq);
    to.set_acq(function.acq);
    to.set_doorbells(number(function.doorbells));
    to.set_shadow_values(function.shadow_values);
    to.set_shadow_events(function.shadow_events);
    encode_controller(function.controller, *to.mutable_controller());
    encode_queues(function, to);
    to.mutable_namespaces()->Assign(function.namespaces.begin(), function.namespaces.end());
}

node::FrozenFunction decode_function(const state::v1::HandedFunction& from) {
    node::FrozenFunction to{.name = from.name(), .controller = {}};
    auto& function = to.controller.function;
    to.controller.connection = handle(from.connection());
    to.controller.session = decode_session(from);
    function.config = bytes(from.config());
    function.msix_table = bytes(from.msix_table());
    function.interrupt_mask = from.interrupt_mask();
    function.aqa = from.aqa();
    function.asq = from.asq();
    function.acq = from.acq();
    function.doorbells = handle(from.doorbells());
    function.shadow_values = from.shadow_values();
    function.shadow_events = from.shadow_events();
    function.controller = decode_controller(from.controller());
    decode_queues(from, function);
    function.namespaces.assign(from.namespaces().begin(), from.namespaces().end());
    return to;
}

}  // namespace

std::string encode_handover(const Handover& handover) {
    state::v1::Handover message;
    for (const node::FrozenFunction& function : handover.functions) {
        encode_function(function, *message.add_functions());
    }
    return message.SerializeAsString();
}

core::Result<Handover> decode_handover(std::string_view bytes) {
    state::v1::Handover message;
    if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        return core::fail(core::ErrorKind::DataLoss, "what was handed over cannot be read");
    }
    Handover handover;
    for (const state::v1::HandedFunction& function : message.functions()) {
        handover.functions.push_back(decode_function(function));
    }
    return handover;
}

std::vector<reactor::Handle> handles_of(const Handover& handover) {
    std::vector<reactor::Handle> all;
    for (const node::FrozenFunction& function : handover.functions) {
        for_each_handle(function.controller, [&all](Handle one) { all.push_back(one); });
    }
    return all;
}

}  // namespace remora::control
