// SPDX-License-Identifier: Apache-2.0
#include "cli/output.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <utility>

#include <google/protobuf/util/json_util.h>

#include "cli/failure.h"
#include "core/check.h"

namespace remora::cli {

Table::Table(std::vector<std::string> titles) {
    rows_.push_back(std::move(titles));
}

void Table::add(std::vector<std::string> cells) {
    CHECK(cells.size() == rows_.front().size());
    rows_.push_back(std::move(cells));
}

void Table::print(std::ostream& out) const {
    std::vector<std::size_t> widths(rows_.front().size(), 1);
    for (const auto& row : rows_) {
        for (std::size_t i = 0; i < row.size(); ++i) {
            widths[i] = std::max(widths[i], row[i].size());
        }
    }
    for (const auto& row : rows_) {
        std::string line;
        for (std::size_t i = 0; i < row.size(); ++i) {
            const std::string cell = row[i].empty() ? "-" : row[i];
            line += cell + std::string(widths[i] - cell.size() + 2, ' ');
        }
        line.erase(line.find_last_not_of(' ') + 1);
        out << line << '\n';
    }
}

std::string to_json(const google::protobuf::Message& message) {
    google::protobuf::util::JsonPrintOptions options;
    options.add_whitespace = true;
    options.always_print_primitive_fields = true;
    std::string text;
    const auto status = google::protobuf::util::MessageToJsonString(message, &text, options);
    if (!status.ok()) {
        throw Refused(grpc::StatusCode::INTERNAL,
                      "the answer cannot be written as JSON: " + status.ToString());
    }
    return text;
}

std::string enum_text(const std::string& enumerator, std::string_view prefix) {
    std::string text = enumerator;
    if (text.starts_with(prefix) && text.size() > prefix.size()) {
        text.erase(0, prefix.size() + 1);
    }
    std::ranges::transform(text, text.begin(), [](unsigned char letter) {
        return static_cast<char>(letter == '_' ? '-' : std::tolower(letter));
    });
    return text;
}

std::string duration_text(std::uint64_t nanoseconds) {
    const auto value = static_cast<double>(nanoseconds);
    char text[32];
    if (nanoseconds < 1'000'000) {
        std::snprintf(text, sizeof text, "%.1f us", value / 1e3);
    } else if (nanoseconds < 1'000'000'000) {
        std::snprintf(text, sizeof text, "%.1f ms", value / 1e6);
    } else {
        std::snprintf(text, sizeof text, "%.1f s", value / 1e9);
    }
    return text;
}

std::string uptime_text(std::uint64_t seconds) {
    constexpr std::uint64_t kMinute = 60;
    constexpr std::uint64_t kHour = 60 * kMinute;
    constexpr std::uint64_t kDay = 24 * kHour;
    const auto two = [&](std::uint64_t large, const char* large_name, std::uint64_t small,
                         const char* small_name) {
        return std::to_string(seconds / large) + large_name +
               std::to_string(seconds % large / small) + small_name;
    };
    if (seconds >= kDay) {
        return two(kDay, " d ", kHour, " h");
    }
    if (seconds >= kHour) {
        return two(kHour, " h ", kMinute, " min");
    }
    if (seconds >= kMinute) {
        return two(kMinute, " min ", 1, " s");
    }
    return std::to_string(seconds) + " s";
}

}  // namespace remora::cli
