// SPDX-License-Identifier: Apache-2.0
#include "virtio/blk_request.h"

#include "core/byte_reader.h"
#include "core/probe.h"

namespace remora::virtio {

namespace {

// Copies the first bytes of `segments` out, then cuts them off. Returns what is left.
std::span<core::Segment> take_front(std::span<core::Segment> segments, std::span<std::byte> out) {
    REMORA_GUEST_MOMENT();
    core::SegmentCursor(segments).copy_out(out);
    REMORA_GUEST_MOMENT();
    // What was copied is checked and used; the guest's bytes are not read again.
    __asm__ volatile("" ::: "memory");
    std::size_t cut = out.size();
    while (cut > 0) {
        core::Segment& first = segments.front();
        if (first.size > cut) {
            first.data += cut;
            first.size -= cut;
            break;
        }
        cut -= first.size;
        segments = segments.subspan(1);
    }
    return segments;
}

// Takes the status byte: the last writable one.
std::byte* take_status(Chain& chain) {
    core::Segment& last = chain.storage[chain.readable + chain.writable - 1U];
    --last.size;
    --chain.writable_bytes;
    std::byte* status = last.data + last.size;
    if (last.size == 0) {
        --chain.writable;
    }
    return status;
}

// VIRTIO 1.2 section 5.2.6.2: a reserved flag, and unmap in a discard, are UNSUPP. One range a
// request: that is what max_discard_seg and max_write_zeroes_seg say.
ParseResult parse_range(std::span<core::Segment> body, std::uint64_t bytes, BlkRequest& request) {
    if (bytes != sizeof(BlkRange)) {
        return bytes != 0 && bytes % sizeof(BlkRange) == 0 ? ParseResult::Unsupported
                                                           : ParseResult::Malformed;
    }
    BlkRange range;
    take_front(body, core::as_writable_bytes_of(range));
    const bool discard = request.type == static_cast<std::uint32_t>(BlkType::Discard);
    const std::uint32_t allowed = discard ? 0 : kRangeUnmap;
    if ((range.flags & ~allowed) != 0) {
        return ParseResult::Unsupported;
    }
    request.sector = range.sector;
    request.range_sectors = range.num_sectors;
    return ParseResult::Ok;
}

}  // namespace

ParseResult parse_blk_request(Chain& chain, BlkRequest& request) {
    request = {};
    if (chain.writable == 0) {
        return ParseResult::NoStatus;
    }
    request.status_byte = take_status(chain);
    if (chain.readable_bytes < sizeof(BlkHeader)) {
        return ParseResult::Malformed;
    }
    BlkHeader header;
    const std::span<core::Segment> body =
        take_front(chain.readable_segments(), core::as_writable_bytes_of(header));
    const std::uint64_t body_bytes = chain.readable_bytes - sizeof(BlkHeader);
    request.type = header.type;
    request.sector = header.sector;
    switch (static_cast<BlkType>(request.type)) {
        case BlkType::In:
        case BlkType::GetId:
            request.data = chain.writable_segments();
            request.data_bytes = chain.writable_bytes;
            return body_bytes == 0 ? ParseResult::Ok : ParseResult::Malformed;
        case BlkType::Out:
            request.data = body;
            request.data_bytes = body_bytes;
            return ParseResult::Ok;
        case BlkType::Flush:
            return ParseResult::Ok;
        case BlkType::Discard:
        case BlkType::WriteZeroes:
            return parse_range(body, body_bytes, request);
    }
    return ParseResult::Unsupported;
}

}  // namespace remora::virtio
