// SPDX-License-Identifier: Apache-2.0
// What the tests of reservations share: their commands, hosts with a queue pair, and a keeper.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "nvme/reservation_keeper.h"
#include "nvme/spec/features.h"
#include "nvme/spec/reservation.h"
#include "tests/unit/nvme_tcp_target/admin_fixture.h"

namespace remora::test {

using spec::ReservationType;

/// Keeps in memory what a target wants kept; refuses when told to.
class MemoryKeeper final : public nvme::ReservationKeeper {
  public:
    Task<core::Result<void>> keep(std::string nqn,
                                  std::uint32_t nsid,
                                  nvme::ReservationRecord record) override {
        ++calls;
        if (refuse) {
            co_return core::fail(core::ErrorKind::ResourceExhausted, "the disk is full");
        }
        kept[{nqn, nsid}] = std::move(record);
        co_return core::Result<void>();
    }
    std::map<std::pair<std::string, std::uint32_t>, nvme::ReservationRecord> kept;
    bool refuse = false;
    int calls = 0;
};

constexpr std::uint32_t kSetPersist = 3U << 30U;
constexpr std::uint32_t kClearPersist = 2U << 30U;

inline Task<Outcome> reservation(
    RawHost& io, IoOpcode opcode, std::uint32_t cdw10, std::uint64_t first, std::uint64_t second) {
    const spec::ReservationRegisterData keys{first, second};
    const auto all = core::as_bytes_of(keys);
    const std::size_t bytes = opcode == IoOpcode::ReservationRelease ? 8 : 16;
    spec::Command command =
        make_command(static_cast<std::uint8_t>(opcode), 1, static_cast<std::uint32_t>(bytes), true);
    command.cdw10 = cdw10;
    Outcome outcome = co_await io.perform(command, all.first(bytes));
    co_return outcome;
}

inline Task<Outcome> enroll(RawHost& io, std::uint64_t key, std::uint32_t cdw10 = 0) {
    return reservation(io, IoOpcode::ReservationRegister, cdw10, 0, key);
}
inline Task<Outcome> unregister(RawHost& io, std::uint64_t key) {
    return reservation(io, IoOpcode::ReservationRegister, 1, key, 0);
}
constexpr std::uint32_t type_bits(ReservationType type) {
    return std::uint32_t{static_cast<std::uint8_t>(type)} << spec::kReservationTypeShift;
}
inline Task<Outcome> acquire(RawHost& io, std::uint64_t key, ReservationType type) {
    return reservation(io, IoOpcode::ReservationAcquire, type_bits(type), key, 0);
}
inline Task<Outcome> preempt(RawHost& io,
                             std::uint64_t key,
                             std::uint64_t victim,
                             ReservationType type,
                             bool abort = false) {
    return reservation(io, IoOpcode::ReservationAcquire, type_bits(type) | (abort ? 2U : 1U), key,
                       victim);
}
inline Task<Outcome> release(RawHost& io, std::uint64_t key, ReservationType type) {
    return reservation(io, IoOpcode::ReservationRelease, type_bits(type), key, 0);
}
inline Task<Outcome> clear(RawHost& io, std::uint64_t key) {
    return reservation(io, IoOpcode::ReservationRelease, 1, key, 0);
}

inline spec::Command report_command(std::uint32_t bytes, bool extended = true) {
    spec::Command command =
        make_command(static_cast<std::uint8_t>(IoOpcode::ReservationReport), 1, bytes, false);
    command.cdw10 = bytes / 4 - 1;
    command.cdw11 = extended ? 1U : 0U;
    return command;
}

struct Report {
    std::uint16_t status = 0xffff;
    spec::ReservationStatus header;
    std::vector<spec::RegisteredController> controllers;
};
inline Task<Report> report(RawHost& io) {
    const Outcome outcome = co_await io.perform(report_command(4096));
    Report out;
    out.status = outcome.status;
    if (outcome.status != 0) {
        co_return out;
    }
    out.header = as<spec::ReservationStatus>(outcome.data);
    for (std::size_t i = 0; i < out.header.registered_controllers && 64 * (i + 2) <= 4096; ++i) {
        spec::RegisteredController one;
        std::memcpy(&one, outcome.data.data() + 64 * (i + 1), sizeof(one));
        out.controllers.push_back(one);
    }
    co_return out;
}

inline spec::Command one_block(IoOpcode opcode) {
    return make_rw(opcode, 0, 1, opcode != IoOpcode::Read);
}
inline Task<Outcome> write_block(RawHost& io, std::uint8_t fill, std::uint32_t lba = 0) {
    const std::vector<std::byte> data(512, std::byte{fill});
    spec::Command command = one_block(IoOpcode::Write);
    command.cdw10 = lba;
    Outcome outcome = co_await io.perform(command, data);
    co_return outcome;
}
inline Task<Outcome> read_block(RawHost& io, std::uint32_t lba = 0) {
    spec::Command command = one_block(IoOpcode::Read);
    command.cdw10 = lba;
    Outcome outcome = co_await io.perform(command);
    co_return outcome;
}

/// A host with an admin queue and an I/O queue. Its identifier is its number 16 times.
struct TestHost {
    std::unique_ptr<RawHost> admin;
    std::unique_ptr<RawHost> io;
};
inline ConnectOptions host_options(std::uint8_t number) {
    ConnectOptions options;
    options.hostnqn = "nqn.2026-01.test:host" + std::to_string(number);
    options.host_id = number;
    return options;
}

class TargetReservation : public TargetAdmin {
  public:
    Task<TestHost> connect_host(std::uint8_t number) {
        TestHost host;
        host.admin = co_await admin_queue(host_options(number));
        host.io = co_await io_queue(host.admin->cntlid, 1, 0, host_options(number));
        co_return host;
    }
    /// Start, with somebody to keep reservations.
    Task<> start_kept() {
        co_await start();
        const auto removed = co_await target_->remove_namespace(kSubsystem, 1);
        CHECK(removed.has_value());
        target_->set_reservation_keeper(&keeper_);
        co_await add_namespace({});
    }
    Task<> add_namespace(nvme::ReservationRecord record) {
        NamespaceOptions options;
        options.device = &device_;
        options.reservation = std::move(record);
        const auto added = co_await target_->add_namespace(kSubsystem, options);
        CHECK(added.has_value());
    }

    MemoryKeeper keeper_;
};

}  // namespace remora::test
