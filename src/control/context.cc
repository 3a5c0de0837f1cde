// SPDX-License-Identifier: Apache-2.0
#include "control/context.h"

#include <algorithm>
#include <limits>

namespace remora::control {

namespace {

std::int32_t saturate(std::uint64_t value) {
    constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int32_t>::max());
    return static_cast<std::int32_t>(std::min(value, kMost));
}

}  // namespace

opi::VolumeStats to_opi_stats(const block::DeviceStats& stats) {
    constexpr std::uint64_t kTickNanos = 1000;
    opi::VolumeStats out;
    out.set_read_bytes_count(saturate(stats.read.bytes));
    out.set_read_ops_count(saturate(stats.read.ops));
    out.set_write_bytes_count(saturate(stats.write.bytes));
    out.set_write_ops_count(saturate(stats.write.ops));
    out.set_unmap_bytes_count(saturate(stats.unmap.bytes));
    out.set_unmap_ops_count(saturate(stats.unmap.ops));
    out.set_read_latency_ticks(saturate(stats.read.latency_ns / kTickNanos));
    out.set_write_latency_ticks(saturate(stats.write.latency_ns / kTickNanos));
    out.set_unmap_latency_ticks(saturate(stats.unmap.latency_ns / kTickNanos));
    return out;
}

core::Result<void> check_not_attached(std::string_view noun,
                                      const std::string& name,
                                      const state::Record& known) {
    if (known.attachment().empty()) {
        return {};
    }
    return core::fail(core::ErrorKind::FailedPrecondition, "the " + std::string(noun) + " " + name +
                                                               " belongs to " + known.attachment() +
                                                               "; detach that instead");
}

std::string join_names(const std::vector<std::string>& names) {
    constexpr std::size_t kMostNames = 4;
    std::string text;
    for (std::size_t i = 0; i < names.size() && i < kMostNames; ++i) {
        text += i == 0 ? names[i] : ", " + names[i];
    }
    if (names.size() > kMostNames) {
        text += " and " + std::to_string(names.size() - kMostNames) + " more";
    }
    return text;
}

}  // namespace remora::control
