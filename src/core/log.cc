// SPDX-License-Identifier: Apache-2.0
#include "core/log.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include "core/log_limiter.h"

namespace remora::core::log {

namespace {

spdlog::level::level_enum native(Level level) {
    switch (level) {
        case Level::Debug:
            return spdlog::level::debug;
        case Level::Info:
            return spdlog::level::info;
        case Level::Warn:
            return spdlog::level::warn;
        case Level::Error:
            return spdlog::level::err;
    }
    return spdlog::level::info;
}

spdlog::logger& logger() {
    static const auto instance = [] {
        auto made = spdlog::stderr_color_mt("remora");
        made->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
        made->flush_on(spdlog::level::debug);
        return made;
    }();
    return *instance;
}

Sink other_sink = nullptr;

/// Control characters would break the line, or tell a terminal what to do.
bool is_control(char c) {
    const auto code = static_cast<unsigned char>(c);
    return code < 0x20 || code == 0x7f;
}

bool needs_quotes(char c) {
    return is_control(c) || c == ' ' || c == '"' || c == '=' || c == '\\';
}

/// A peer's text in a log line must not break the line or forge another.
void append_value(std::string& line, std::string_view value) {
    if (!value.empty() && std::ranges::none_of(value, needs_quotes)) {
        line += value;
        return;
    }
    line.push_back('"');
    for (const char c : value) {
        if (c == '"' || c == '\\') {
            line.push_back('\\');
        }
        line.push_back(is_control(c) ? ' ' : c);
    }
    line.push_back('"');
}

}  // namespace

void set_sink(Sink sink) {
    other_sink = sink;
}

void set_level(Level level) {
    logger().set_level(native(level));
}

bool parse_level(std::string_view text, Level& level) {
    static constexpr std::pair<std::string_view, Level> kNames[] = {{"debug", Level::Debug},
                                                                    {"info", Level::Info},
                                                                    {"warn", Level::Warn},
                                                                    {"error", Level::Error}};
    for (const auto& [name, value] : kNames) {
        if (text == name) {
            level = value;
            return true;
        }
    }
    return false;
}

void write(Level level, std::string_view message, std::initializer_list<Field> fields) {
    if (!logger().should_log(native(level))) {
        return;
    }
    std::string line(message);
    for (const Field& field : fields) {
        line.push_back(' ');
        line += field.key;
        line.push_back('=');
        append_value(line, field.value);
    }
    if (other_sink != nullptr) {
        other_sink(level, line);
        return;
    }
    static LogLimiter limiter;
    const auto left_out =
        limiter.admit(message, std::chrono::steady_clock::now().time_since_epoch());
    if (!left_out) {
        return;
    }
    if (*left_out > 0) {
        line += " left_out=" + std::to_string(*left_out);
    }
    logger().log(native(level), "{}", line);
}

}  // namespace remora::core::log
