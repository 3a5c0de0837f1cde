// SPDX-License-Identifier: Apache-2.0
// Structured logs: a fixed lower-case message and keys. Never called per I/O.
//
//   log::info("controller connected", kv("subsystem", nqn), kv("qid", qid));
//
// `error` means an operator must act. This file is the only one that knows the logging library.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace remora::core::log {

enum class Level { Debug, Info, Warn, Error };

/// One key and its value, already text. Values with spaces are quoted when written.
struct Field {
    std::string_view key;
    std::string value;
};

inline Field kv(std::string_view key, std::string_view value) {
    return {key, std::string(value)};
}
inline Field kv(std::string_view key, const char* value) {
    return {key, std::string(value)};
}
inline Field kv(std::string_view key, const std::string& value) {
    return {key, value};
}
inline Field kv(std::string_view key, bool value) {
    return {key, value ? "true" : "false"};
}
template <std::integral T>
Field kv(std::string_view key, T value) {
    return {key, std::to_string(value)};
}

/// Sets the least level that is written. Called once by main before threads start.
void set_level(Level level);
/// Parses "debug", "info", "warn" or "error"; false for anything else.
bool parse_level(std::string_view text, Level& level);

/// Takes the lines instead of stderr. Called on the thread that logs.
using Sink = void (*)(Level level, std::string_view line);
/// Null: stderr again. Before other threads start.
void set_sink(Sink sink);

/// Writes one line, to stderr unless there is a sink. Any thread.
void write(Level level, std::string_view message, std::initializer_list<Field> fields);

template <typename... F>
void debug(std::string_view message, F&&... fields) {
    write(Level::Debug, message, {std::forward<F>(fields)...});
}
template <typename... F>
void info(std::string_view message, F&&... fields) {
    write(Level::Info, message, {std::forward<F>(fields)...});
}
template <typename... F>
void warn(std::string_view message, F&&... fields) {
    write(Level::Warn, message, {std::forward<F>(fields)...});
}
template <typename... F>
void error(std::string_view message, F&&... fields) {
    write(Level::Error, message, {std::forward<F>(fields)...});
}

}  // namespace remora::core::log

namespace remora::log {
using namespace core::log;  // NOLINT(google-build-using-namespace): the short name used everywhere
}
