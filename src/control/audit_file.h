// SPDX-License-Identifier: Apache-2.0
// AuditFile: the audit log's file, which only grows, and at a size makes room: FILE becomes FILE.1,
// FILE.1 becomes FILE.2, and the oldest goes. Any thread; blocks as a disk does.
//
// A line is there wholly or not: what a write that failed has left is cut off again, and behind a
// line that a crash cut a new one begins.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "control/audit_log.h"
#include "core/result.h"

namespace remora::control {

struct AuditFileLimits {
    std::uint64_t file_bytes = std::uint64_t{64} << 20U;
    unsigned old_files = 4;
};

class AuditFile final : public AuditSink {
  public:
    /// Makes the file, for its owner alone, where there is none. Errors: FailedPrecondition when
    /// it is no plain file or another process has it; those of the system.
    static core::Result<std::unique_ptr<AuditFile>> open(const std::string& path,
                                                         const AuditFileLimits& limits);

    core::Result<void> append(std::string_view line, bool durable) override;
    /// The largest "seq" that the end of the file, or of its predecessor, showed when it was
    /// opened.
    [[nodiscard]] std::uint64_t last_number() const { return last_number_; }

  private:
    class Descriptor;

    AuditFile(std::string path, const AuditFileLimits& limits)
        : path_(std::move(path)), limits_(limits) {}
    core::Result<void> open_file();
    core::Result<void> make_room(std::size_t bytes);
    core::Result<void> write_line(std::string_view line);
    core::Result<void> sync_folder() const;
    void find_last_number(const Descriptor& file);

    const std::string path_;
    const AuditFileLimits limits_;
    std::uint64_t last_number_ = 0;

    std::mutex mutex_;
    std::shared_ptr<Descriptor> file_;  ///< Null when it could not be made anew.
    bool torn_ = false;                 ///< It does not end with a newline.
};

}  // namespace remora::control
