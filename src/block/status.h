// SPDX-License-Identifier: Apache-2.0
// block::Status: the outcome of an I/O, small enough for the data path. Each boundary maps it in
// one file: nvme/status_map, virtio/status_map.
#pragma once

#include <cstdint>
#include <string_view>

namespace remora::block {

enum class Status : std::uint8_t {
    Ok,
    IoError,         ///< The medium failed; another try may work.
    OutOfRange,      ///< Past the end of the device.
    InvalidRequest,  ///< Not a request this device can take (alignment, length, flags).
    Unsupported,     ///< The device has no such operation.
    ReadOnly,        ///< A write to a device that may only be read.
    NoSpace,         ///< The place behind the device is full.
    PathError,       ///< No way to the device within the set deadline.
    Aborted,         ///< Given up by whoever submitted it, or the device is going away.
    NoResources,     ///< A pool is empty; the same request may work in a moment.
    DataCorrupt,     ///< A checksum did not match: these bytes must not be used.
};

std::string_view to_string(Status status) noexcept;

}  // namespace remora::block
