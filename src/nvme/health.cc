// SPDX-License-Identifier: Apache-2.0
#include "nvme/health.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <utility>

#include "core/check.h"

namespace remora::nvme {

namespace {

using spec::Command;
using spec::IoOpcode;
using spec::StatusCode;

/// Parameter Error Location of an error that is of no field, or of one that is not known.
constexpr std::uint16_t kNoLocation = 0xffff;

/// The byte of the command where `status` says the error is. Invalid Field may mean any field.
std::uint16_t location_of(StatusCode code) {
    switch (static_cast<std::uint16_t>(code)) {
        case static_cast<std::uint16_t>(StatusCode::InvalidOpcode):
            return offsetof(Command, opcode);
        case static_cast<std::uint16_t>(StatusCode::InvalidNamespace):
            return offsetof(Command, nsid);
        case static_cast<std::uint16_t>(StatusCode::SglOffsetInvalid):
            return offsetof(Command, sgl) + offsetof(spec::SglDescriptor, address);
        case static_cast<std::uint16_t>(StatusCode::DataSglLengthInvalid):
            return offsetof(Command, sgl) + offsetof(spec::SglDescriptor, length);
        case static_cast<std::uint16_t>(StatusCode::SglTypeInvalid):
            return offsetof(Command, sgl) + offsetof(spec::SglDescriptor, identifier);
        case static_cast<std::uint16_t>(StatusCode::InvalidLogPage):
            return offsetof(Command, cdw10);
        default:
            return kNoLocation;
    }
}

bool has_lba(const Command& command) {
    switch (static_cast<IoOpcode>(command.opcode)) {
        case IoOpcode::Read:
        case IoOpcode::Write:
        case IoOpcode::Compare:
        case IoOpcode::WriteZeroes:
        case IoOpcode::WriteUncorrectable:
        case IoOpcode::Verify:
        case IoOpcode::Copy:
            return true;
        case IoOpcode::Flush:
        case IoOpcode::DatasetManagement:
        case IoOpcode::ReservationRegister:
        case IoOpcode::ReservationReport:
        case IoOpcode::ReservationAcquire:
        case IoOpcode::ReservationRelease:
            break;
    }
    return false;
}

}  // namespace

void IoCounters::add_failure(std::uint16_t status) {
    const StatusCode code = spec::status_code(status);
    // Unrecovered data integrity errors; a write that failed has lost nothing that was stored.
    const bool media =
        code == StatusCode::UnrecoveredReadError || code == StatusCode::GuardCheckError ||
        code == StatusCode::ApplicationTagError || code == StatusCode::ReferenceTagError;
    media_errors_ += media ? 1U : 0U;
}

void IoCounters::add(const IoCounters& other) {
    for (std::size_t i = 0; i < ways_.size(); ++i) {
        ways_[i].commands += other.ways_[i].commands;
        ways_[i].bytes += other.ways_[i].bytes;
    }
    media_errors_ += other.media_errors_;
}

bool is_logged(std::uint16_t status) {
    return status != 0 && spec::status_code(status) != StatusCode::AbortRequested;
}

CommandError command_error(const Command& command,
                           std::uint16_t status,
                           std::uint16_t sqid,
                           core::Nanos at) {
    return {.at = at,
            .lba = sqid != 0 && has_lba(command) ? spec::starting_lba(command) : 0,
            .nsid = command.nsid,
            .sqid = sqid,
            .cid = command.cid,
            .status = status,
            .location = location_of(spec::status_code(status))};
}

void ErrorBatch::append(const ErrorBatch& other) {
    count += other.count;
    newest.insert(newest.end(), other.newest.begin(), other.newest.end());
}

ErrorBatch ErrorNotes::take() {
    ErrorBatch batch{.count = count_, .newest = {}};
    const std::uint64_t kept = std::min<std::uint64_t>(count_, ring_.size());
    for (std::uint64_t i = count_ - kept; i < count_; ++i) {
        batch.newest.push_back(ring_[i % ring_.size()]);
    }
    count_ = 0;
    return batch;
}

void ErrorLog::add(const ErrorBatch& batch) {
    CHECK(batch.newest.size() <= batch.count);
    // By time; what one queue saw at once stays in its order.
    std::vector<std::pair<core::Nanos, std::size_t>> order;
    order.reserve(batch.newest.size());
    for (std::size_t i = 0; i < batch.newest.size(); ++i) {
        order.emplace_back(batch.newest[i].at, i);
    }
    std::ranges::sort(order);
    // Those that are missing came before: their numbers are left out.
    count_ += batch.count - batch.newest.size();
    for (const auto& [at, index] : order) {
        entries_.push_back({++count_, batch.newest[index]});
    }
    if (entries_.size() > kErrorLogEntries) {
        entries_.erase(entries_.begin(),
                       entries_.end() - static_cast<std::ptrdiff_t>(kErrorLogEntries));
    }
}

void ErrorLog::write(LogWindow& to) const {
    for (auto at = entries_.rbegin(); at != entries_.rend(); ++at) {
        spec::ErrorLogEntry entry{};
        entry.error_count = at->number;
        entry.sqid = at->error.sqid;
        entry.cid = at->error.cid;
        entry.status =
            static_cast<std::uint16_t>(at->error.status << 1U);  // as a completion has it
        entry.parameter_location = at->error.location;
        entry.lba = at->error.lba;
        entry.nsid = at->error.nsid;
        to.append(entry);
    }
}

spec::SmartLog smart_log(const IoCounters& io, core::Nanos up, std::uint64_t errors) {
    constexpr std::uint64_t kDataUnit = 512'000;  // thousands of 512 bytes, rounded up
    constexpr std::uint16_t kRoomTemperature = 310;
    spec::SmartLog log{};
    // Nothing here has a sensor or wears out: what hosts take for well.
    log.temperature_kelvin = kRoomTemperature;
    log.available_spare = 100;
    log.data_units_read[0] = (io.bytes_read() + kDataUnit - 1) / kDataUnit;
    log.data_units_written[0] = (io.bytes_written() + kDataUnit - 1) / kDataUnit;
    log.host_reads[0] = io.reads();
    log.host_writes[0] = io.writes();
    // As the counters: since this process shows the subsystem. Power cycles, unsafe shutdowns and
    // busy time are 0 since nobody counts them: the process does not remember those before it.
    log.power_on_hours[0] =
        static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::hours>(up).count());
    log.media_errors[0] = io.media_errors();
    log.error_log_entries[0] = errors;
    return log;
}

}  // namespace remora::nvme
