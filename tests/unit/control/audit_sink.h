// SPDX-License-Identifier: Apache-2.0
// MemorySink: keeps the audit log's lines, or fails, as a test says.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "control/audit_log.h"

namespace remora::test {

class MemorySink final : public control::AuditSink {
  public:
    /// Outlives the sink.
    class Lines {
      public:
        [[nodiscard]] std::vector<nlohmann::json> records() const {
            const std::scoped_lock lock(mutex_);
            std::vector<nlohmann::json> out;
            for (const std::string& line : lines_) {
                EXPECT_EQ(line.find('\n'), line.size() - 1) << line;
                out.push_back(nlohmann::json::parse(line));
            }
            return out;
        }
        [[nodiscard]] std::vector<bool> durable() const {
            const std::scoped_lock lock(mutex_);
            return durable_;
        }
        /// From now on, whether lines are refused.
        void fail(bool on) {
            const std::scoped_lock lock(mutex_);
            failing_ = on;
        }

      private:
        friend class MemorySink;
        mutable std::mutex mutex_;
        std::vector<std::string> lines_;
        std::vector<bool> durable_;
        bool failing_ = false;
    };

    explicit MemorySink(Lines& lines) : lines_(lines) {}

    core::Result<void> append(std::string_view line, bool durable) override {
        const std::scoped_lock lock(lines_.mutex_);
        if (lines_.failing_) {
            return core::fail(core::ErrorKind::ResourceExhausted, "no space");
        }
        lines_.lines_.emplace_back(line);
        lines_.durable_.push_back(durable);
        return {};
    }

  private:
    Lines& lines_;
};

}  // namespace remora::test
