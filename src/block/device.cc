// SPDX-License-Identifier: Apache-2.0
#include "block/device.h"

#include <bit>
#include <limits>

namespace remora::block {

namespace {

void add_counters(IoCounters& to, const IoCounters& from) {
    to.ops += from.ops;
    to.bytes += from.bytes;
    to.errors += from.errors;
    to.latency_ns += from.latency_ns;
}

bool writes(Opcode opcode) {
    return opcode == Opcode::Write || opcode == Opcode::WriteZeroes || opcode == Opcode::Discard;
}

}  // namespace

core::Result<void> check_geometry(const Geometry& geometry) {
    using core::ErrorKind;
    if (!std::has_single_bit(geometry.block_size) || geometry.block_size < 512 ||
        geometry.block_size > 4096) {
        return core::fail(ErrorKind::InvalidArgument, "block size " +
                                                          std::to_string(geometry.block_size) +
                                                          " is not 512, 1024, 2048 or 4096");
    }
    constexpr auto kMaxBytes = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (geometry.block_count == 0 || geometry.block_count > kMaxBytes / geometry.block_size) {
        return core::fail(ErrorKind::InvalidArgument,
                          "block count " + std::to_string(geometry.block_count) +
                              " is not between 1 and 2^63 bytes' worth");
    }
    return {};
}

void DeviceStats::add(const DeviceStats& other) {
    add_counters(read, other.read);
    add_counters(write, other.write);
    add_counters(flush, other.flush);
    add_counters(unmap, other.unmap);
    throttled_ns += other.throttled_ns;
    read_latency.add(other.read_latency);
    write_latency.add(other.write_latency);
}

void DeviceStats::count(Opcode opcode,
                        std::uint64_t moved_bytes,
                        Status status,
                        std::uint64_t took_ns) {
    IoCounters* counters = &unmap;
    if (opcode == Opcode::Read) {
        counters = &read;
        read_latency.record(took_ns);
    } else if (opcode == Opcode::Write) {
        counters = &write;
        write_latency.record(took_ns);
    } else if (opcode == Opcode::Flush) {
        counters = &flush;
    }
    ++counters->ops;
    counters->bytes += moved_bytes;
    counters->errors += status == Status::Ok ? 0U : 1U;
    counters->latency_ns += took_ns;
}

Status validate(const Request& request, const Geometry& geometry) {
    if (request.opcode == Opcode::Flush) {
        return Status::Ok;
    }
    if (writes(request.opcode) && geometry.read_only) {
        return Status::ReadOnly;
    }
    if ((request.opcode == Opcode::Discard && !geometry.can_discard) ||
        (request.opcode == Opcode::WriteZeroes && !geometry.can_write_zeroes)) {
        return Status::Unsupported;
    }
    if (request.block_count == 0) {
        return Status::InvalidRequest;
    }
    if (request.lba >= geometry.block_count ||
        request.block_count > geometry.block_count - request.lba) {
        return Status::OutOfRange;
    }
    if (request.opcode == Opcode::Read || request.opcode == Opcode::Write) {
        const std::uint64_t bytes = std::uint64_t{request.block_count} * geometry.block_size;
        if (core::total_size(request.data) != bytes) {
            return Status::InvalidRequest;
        }
    }
    return Status::Ok;
}

}  // namespace remora::block
