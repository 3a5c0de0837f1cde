// SPDX-License-Identifier: Apache-2.0
// What the SMART / Health Information and Error Information log pages tell, and how it is counted.
//
//   queue:       ErrorNotes   failed commands since they were collected last ──┐
//   reactor:     IoCounters   of a subsystem, as long as this process shows it ─┤ census
//   controller:  ErrorLog     the newest errors of its queues, numbered ◄───────┘
//
// The scopes differ. Errors are a controller's own, for its life, which is that of its association.
// The other counters are the whole subsystem's, of all its hosts: a dynamic controller's would
// begin at zero with each connect and tell an operator nothing. None outlives this process.
//
// NVM Express Base Specification 2.0, Get Log Page - Error Information and SMART / Health
// Information.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/units.h"
#include "nvme/commands.h"
#include "nvme/log_window.h"
#include "nvme/spec/command.h"
#include "nvme/spec/log_page.h"

namespace remora::nvme {

/// Entries of the Error Information log (Identify: ELPE + 1).
constexpr std::size_t kErrorLogEntries = 64;

/// What the hosts of one subsystem did on one reactor: plain numbers, only ever added to.
class IoCounters {
  public:
    /// A command that is one request has succeeded; `bytes` of data were moved.
    void add(Transfer transfer, std::uint64_t bytes) {
        Way& way = ways_[static_cast<std::size_t>(transfer)];
        ++way.commands;
        way.bytes += bytes;
    }
    /// The target has read for a command whose data it does not send.
    void add_read(std::uint64_t bytes, bool is_host_read) {
        Way& way = ways_[static_cast<std::size_t>(Transfer::ToHost)];
        way.commands += is_host_read ? 1U : 0U;
        way.bytes += bytes;
    }
    /// A volume could not give what was stored.
    void add_failure(std::uint16_t status);
    void add(const IoCounters& other);

    [[nodiscard]] std::uint64_t reads() const { return way(Transfer::ToHost).commands; }
    [[nodiscard]] std::uint64_t writes() const { return way(Transfer::FromHost).commands; }
    [[nodiscard]] std::uint64_t bytes_read() const { return way(Transfer::ToHost).bytes; }
    [[nodiscard]] std::uint64_t bytes_written() const { return way(Transfer::FromHost).bytes; }
    [[nodiscard]] std::uint64_t media_errors() const { return media_errors_; }

  private:
    struct Way {
        std::uint64_t commands = 0;
        std::uint64_t bytes = 0;
    };
    [[nodiscard]] const Way& way(Transfer transfer) const {
        return ways_[static_cast<std::size_t>(transfer)];
    }

    std::array<Way, 3> ways_;  // by Transfer
    std::uint64_t media_errors_ = 0;
};

/// A command that failed.
struct CommandError {
    core::Nanos at{};
    std::uint64_t lba = 0;  ///< Of a command that has one.
    std::uint32_t nsid = 0;
    std::uint16_t sqid = 0;
    std::uint16_t cid = 0;
    std::uint16_t status = 0;  ///< Status field.
    std::uint16_t location = 0;
};

/// Whether the log is about it: a command that its host had aborted is no error.
[[nodiscard]] bool is_logged(std::uint16_t status);
[[nodiscard]] CommandError command_error(const spec::Command& command,
                                         std::uint16_t status,
                                         std::uint16_t sqid,
                                         core::Nanos at);

/// Errors on their way to their controller.
struct ErrorBatch {
    std::uint64_t count = 0;           ///< Of all; older ones may be missing from `newest`.
    std::vector<CommandError> newest;  ///< Each queue's in order.

    void append(const ErrorBatch& other);
};

/// The failed commands of one queue that its controller has not collected.
class ErrorNotes {
  public:
    void add(const CommandError& error) {
        ring_[count_ % ring_.size()] = error;
        ++count_;
    }
    /// Hands them out and forgets them.
    ErrorBatch take();

  private:
    std::array<CommandError, kErrorLogEntries> ring_;
    std::uint64_t count_ = 0;
};

/// Of one controller.
class ErrorLog {
  public:
    void add(const ErrorBatch& batch);
    /// Over the life of the controller.
    [[nodiscard]] std::uint64_t count() const { return count_; }
    /// The whole page, the newest first.
    void write(LogWindow& to) const;

  private:
    struct Entry {
        std::uint64_t number = 0;
        CommandError error;
    };
    std::vector<Entry> entries_;  // the newest last
    std::uint64_t count_ = 0;
};

/// The page of a subsystem that this process has shown for `up`.
spec::SmartLog smart_log(const IoCounters& io, core::Nanos up, std::uint64_t errors);

}  // namespace remora::nvme
