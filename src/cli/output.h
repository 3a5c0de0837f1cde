// SPDX-License-Identifier: Apache-2.0
// What commands print: aligned tables for people, JSON for programs. Pure text.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include <google/protobuf/message.h>

namespace remora::cli {

/// Columns as wide as their widest cell, two spaces apart; an empty cell is shown as "-".
class Table {
  public:
    explicit Table(std::vector<std::string> titles);

    /// As many cells as there are titles.
    void add(std::vector<std::string> cells);
    void print(std::ostream& out) const;

  private:
    std::vector<std::vector<std::string>> rows_;
};

/// A message as proto3 JSON: camelCase names, defaults included, 64-bit numbers as strings.
std::string to_json(const google::protobuf::Message& message);

/// An enumerator without the words its type puts in front: NVME_MULTIPATH_FAILOVER of
/// NVME_MULTIPATH is "failover".
std::string enum_text(const std::string& enumerator, std::string_view prefix);

/// "12.3 us", "4.0 ms": nanoseconds as a person reads them.
std::string duration_text(std::uint64_t nanoseconds);

/// "3 s", "5 min 2 s", "2 h 5 min", "3 d 2 h".
std::string uptime_text(std::uint64_t seconds);

}  // namespace remora::cli
