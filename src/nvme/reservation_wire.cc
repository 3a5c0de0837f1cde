// SPDX-License-Identifier: Apache-2.0
// Reservation commands from the wire, and the report.
#include <algorithm>
#include <cstring>
#include <limits>

#include "core/byte_reader.h"
#include "core/check.h"
#include "nvme/reservation.h"

namespace remora::nvme {

namespace {

using spec::Command;
using spec::IoOpcode;
using spec::StatusCode;
using Action = ReservationCommand::Action;
using Decoded = std::expected<ReservationCommand, std::uint16_t>;

std::unexpected<std::uint16_t> refuse(StatusCode code = StatusCode::InvalidField) {
    return std::unexpected(spec::status_field(code, true));
}

template <typename T>
T load(std::span<const std::byte> from) {
    CHECK(from.size() >= sizeof(T));
    T out;
    std::memcpy(&out, from.data(), sizeof(T));
    return out;
}

std::uint32_t action_of(const Command& command) {
    return command.cdw10.get() & spec::kReservationActionMask;
}

bool ignores_key(const Command& command) {
    return (command.cdw10.get() & spec::kIgnoreExistingKey) != 0;
}

ReservationType type_of(const Command& command) {
    return static_cast<ReservationType>((command.cdw10.get() >> spec::kReservationTypeShift) &
                                        0xffU);
}

bool is_type(ReservationType type) {
    return type >= ReservationType::WriteExclusive &&
           type <= ReservationType::ExclusiveAccessAllRegistrants;
}

Decoded decode_register(const Command& command, std::span<const std::byte> data) {
    const auto keys = load<spec::ReservationRegisterData>(data);
    ReservationCommand out{
        .ignore_key = ignores_key(command), .key = keys.current_key, .other_key = keys.new_key};
    switch (static_cast<spec::RegisterAction>(action_of(command))) {
        case spec::RegisterAction::Register:
            out.action = Action::Register;
            break;
        case spec::RegisterAction::Unregister:
            out.action = Action::Unregister;
            break;
        case spec::RegisterAction::Replace:
            out.action = Action::Replace;
            break;
        default:
            return refuse();
    }
    switch (static_cast<spec::ChangePersistence>(command.cdw10.get() >>
                                                 spec::kChangePersistenceShift)) {
        case spec::ChangePersistence::No:
            break;
        case spec::ChangePersistence::Clear:
            out.persist = false;
            break;
        case spec::ChangePersistence::Set:
            out.persist = true;
            break;
        default:
            return refuse();
    }
    // Nobody could preempt a key of zero: there it means all, or nothing.
    if (out.action != Action::Unregister && out.other_key == 0) {
        return refuse();
    }
    return out;
}

Decoded decode_acquire(const Command& command, std::span<const std::byte> data) {
    const auto keys = load<spec::ReservationAcquireData>(data);
    ReservationCommand out{
        .type = type_of(command), .key = keys.current_key, .other_key = keys.preempted_key};
    switch (static_cast<spec::AcquireAction>(action_of(command))) {
        case spec::AcquireAction::Acquire:
            out.action = Action::Acquire;
            break;
        case spec::AcquireAction::Preempt:
            out.action = Action::Preempt;
            break;
        case spec::AcquireAction::PreemptAndAbort:
            out.action = Action::PreemptAndAbort;
            break;
        default:
            return refuse();
    }
    // IEKEY is for Register alone since revision 1.3 (RESCAP bit 7).
    if (ignores_key(command) || !is_type(out.type)) {
        return refuse();
    }
    return out;
}

Decoded decode_release(const Command& command, std::span<const std::byte> data) {
    ReservationCommand out{.type = type_of(command),
                           .key = load<spec::ReservationReleaseData>(data).current_key};
    switch (static_cast<spec::ReleaseAction>(action_of(command))) {
        case spec::ReleaseAction::Release:
            out.action = Action::Release;
            break;
        case spec::ReleaseAction::Clear:
            out.action = Action::Clear;
            break;
        default:
            return refuse();
    }
    if (ignores_key(command) || (out.action == Action::Release && !is_type(out.type))) {
        return refuse();
    }
    return out;
}

}  // namespace

std::expected<std::uint32_t, std::uint16_t> reservation_data_bytes(const Command& command) {
    constexpr auto kTwoKeys = static_cast<std::uint32_t>(sizeof(spec::ReservationRegisterData));
    constexpr auto kOneKey = static_cast<std::uint32_t>(sizeof(spec::ReservationReleaseData));
    static_assert(sizeof(spec::ReservationAcquireData) == kTwoKeys);
    const auto opcode = static_cast<IoOpcode>(command.opcode);
    if (opcode == IoOpcode::ReservationReport) {
        const std::uint64_t bytes = spec::reservation_report_bytes(command);
        if ((command.cdw11 & spec::kExtendedDataStructure) == 0) {
            // All hosts here have identifiers of 128 bits, which the short structure has no room
            // for.
            return refuse(StatusCode::HostIdInconsistent);
        }
        if (bytes > std::numeric_limits<std::uint32_t>::max()) {
            return refuse();
        }
        return static_cast<std::uint32_t>(bytes);
    }
    if (opcode == IoOpcode::ReservationRelease) {
        // Linux sends as much as for the others; what is behind the key is not looked at.
        return command.sgl.length == kTwoKeys ? kTwoKeys : kOneKey;
    }
    CHECK(opcode == IoOpcode::ReservationRegister || opcode == IoOpcode::ReservationAcquire);
    return kTwoKeys;
}

Decoded decode_reservation(const Command& command, std::span<const std::byte> data) {
    const auto opcode = static_cast<IoOpcode>(command.opcode);
    if (opcode == IoOpcode::ReservationRegister) {
        return decode_register(command, data);
    }
    if (opcode == IoOpcode::ReservationAcquire) {
        return decode_acquire(command, data);
    }
    CHECK(opcode == IoOpcode::ReservationRelease);
    return decode_release(command, data);
}

std::vector<std::byte> reservation_report(const Reservation& from,
                                          std::span<const HostController> controllers) {
    const ReservationRecord& record = from.record();
    std::vector<spec::RegisteredController> entries;
    for (const Registrant& one : record.registrants) {
        spec::RegisteredController entry;
        entry.status = from.holds(one.host) ? spec::kHoldsReservation : std::uint8_t{0};
        entry.key = one.key;
        std::ranges::copy(one.host, entry.host_id);
        const std::size_t before = entries.size();
        for (const HostController& controller : controllers) {
            if (controller.host == one.host) {
                entry.cntlid = controller.cntlid;
                entries.push_back(entry);
            }
        }
        if (entries.size() == before) {
            entry.cntlid = spec::kNoController;
            entries.push_back(entry);
        }
    }
    spec::ReservationStatus header;
    header.generation = record.generation;
    header.type = static_cast<std::uint8_t>(record.type);
    header.registered_controllers = static_cast<std::uint16_t>(
        std::min<std::size_t>(entries.size(), std::numeric_limits<std::uint16_t>::max()));
    header.persist = record.persist ? 1 : 0;
    std::vector<std::byte> out;
    out.reserve(sizeof(header) + entries.size() * sizeof(spec::RegisteredController));
    const auto append = [&out](std::span<const std::byte> bytes) {
        out.insert(out.end(), bytes.begin(), bytes.end());
    };
    append(core::as_bytes_of(header));
    for (const spec::RegisteredController& entry : entries) {
        append(core::as_bytes_of(entry));
    }
    return out;
}

}  // namespace remora::nvme
