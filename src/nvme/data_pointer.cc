// SPDX-License-Identifier: Apache-2.0
#include "nvme/data_pointer.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/byte_reader.h"
#include "nvme/spec/pcie.h"

namespace remora::nvme {

namespace {

using core::Segment;
using spec::kPageBytes;
using spec::PcieStatus;
using spec::StatusCode;

using Located = std::expected<std::span<const Segment>, std::uint16_t>;

template <typename T>
std::uint16_t refused(T code) {
    return spec::status_field(code, true);
}

/// Copies once what a guest may be changing: the empty asm keeps the compiler from reading it again
/// after it was checked.
template <typename T>
bool load(const memory::GuestMemory& guest, std::uint64_t address, std::span<T> to) {
    if (!guest.copy_out(address, std::as_writable_bytes(to))) {
        return false;
    }
    __asm__ volatile("" : : "r"(to.data()) : "memory");
    return true;
}

/// Gathers runs of guest memory into a list.
class Collector {
  public:
    Collector(const memory::GuestMemory& guest, std::span<Segment> storage)
        : guest_(guest), storage_(storage) {}

    /// 0, or why it cannot be: some of it is not mapped, or the list is full.
    std::uint16_t add(std::uint64_t address, std::uint64_t bytes) {
        std::uint64_t past = 0;
        if (__builtin_add_overflow(address, bytes, &past)) {
            return refused(StatusCode::DataTransferError);
        }
        while (bytes > 0) {
            const std::span<std::byte> run = guest_.run_at(address, bytes);
            if (run.empty()) {
                return refused(StatusCode::DataTransferError);
            }
            if (!append(run)) {
                return kTooManySegments;
            }
            address += run.size();
            bytes -= run.size();
        }
        return 0;
    }

    [[nodiscard]] std::span<const Segment> segments() const { return storage_.first(count_); }

  private:
    bool append(std::span<std::byte> run) {
        if (count_ > 0) {
            Segment& last = storage_[count_ - 1];
            if (last.data + last.size == run.data()) {
                last.size += run.size();
                return true;
            }
        }
        if (count_ == storage_.size()) {
            return false;
        }
        storage_[count_++] = {run.data(), run.size()};
        return true;
    }

    const memory::GuestMemory& guest_;
    std::span<Segment> storage_;
    std::size_t count_ = 0;
};

/// All that PRP lists point to. Each list but the first has its offset 0, so each brings at least
/// 511 pages on, and the walk ends.
std::uint16_t walk_prp_list(const memory::GuestMemory& guest,
                            std::uint64_t list,
                            std::uint64_t bytes,
                            Collector& to) {
    constexpr std::size_t kGroup = 32;
    if (list % sizeof(core::le64) != 0) {
        return refused(PcieStatus::PrpOffsetInvalid);
    }
    std::array<core::le64, kGroup> entries;
    while (bytes > 0) {
        const std::uint64_t pages = (bytes + kPageBytes - 1) / kPageBytes;
        const std::uint64_t room = (kPageBytes - list % kPageBytes) / sizeof(core::le64);
        // With more pages than entries here the last entry leads on.
        const bool chained = pages > room;
        std::uint64_t left = chained ? room - 1 : pages;
        while (left > 0) {
            const auto group = std::span(entries).first(std::min<std::uint64_t>(left, kGroup));
            if (!load(guest, list, group)) {
                return refused(StatusCode::DataTransferError);
            }
            for (const core::le64 entry : group) {
                const std::uint64_t size = std::min<std::uint64_t>(bytes, kPageBytes);
                if (entry % kPageBytes != 0) {
                    return refused(PcieStatus::PrpOffsetInvalid);
                }
                if (const std::uint16_t status = to.add(entry, size); status != 0) {
                    return status;
                }
                bytes -= size;
            }
            list += group.size_bytes();
            left -= group.size();
        }
        if (!chained) {
            break;
        }
        const auto next = std::span(entries).first(1);
        if (!load(guest, list, next)) {
            return refused(StatusCode::DataTransferError);
        }
        list = next[0];
        if (list % kPageBytes != 0) {
            return refused(PcieStatus::PrpOffsetInvalid);
        }
    }
    return 0;
}

std::uint16_t walk_prps(const memory::GuestMemory& guest,
                        const spec::PrpPair& prps,
                        std::uint64_t bytes,
                        Collector& to) {
    const std::uint64_t offset = prps.first % kPageBytes;
    if (offset % 4 != 0) {
        return refused(PcieStatus::PrpOffsetInvalid);
    }
    const std::uint64_t first = std::min<std::uint64_t>(bytes, kPageBytes - offset);
    if (const std::uint16_t status = to.add(prps.first, first); status != 0) {
        return status;
    }
    bytes -= first;
    if (bytes > kPageBytes) {
        return walk_prp_list(guest, prps.second, bytes, to);
    }
    if (bytes > 0) {
        if (prps.second % kPageBytes != 0) {
            return refused(PcieStatus::PrpOffsetInvalid);
        }
        return to.add(prps.second, bytes);
    }
    return 0;
}

/// One SGL, from the command's descriptor to its end.
class SglWalk {
  public:
    SglWalk(const memory::GuestMemory& guest, std::uint64_t bytes, Collector& to)
        : guest_(guest), bytes_(bytes), to_(to) {}

    std::uint16_t run(const spec::SglDescriptor& first) {
        std::uint16_t status = take(first, true);
        while (status == 0 && pending_) {
            status = segment();
        }
        if (status == 0 && bytes_ != 0) {
            return refused(StatusCode::DataSglLengthInvalid);
        }
        return status;
    }

  private:
    /// `last`: nothing follows in this segment, so it may lead on.
    std::uint16_t take(const spec::SglDescriptor& descriptor, bool last) {
        if (++count_ > kMaxSglDescriptors + 1) {  // with the one in the command
            return kTooManySegments;
        }
        switch (descriptor.identifier) {
            case spec::kSglDataBlock:
                // SGLS 18 is 0: what is described is the data's length exactly.
                if (descriptor.length > bytes_) {
                    return refused(StatusCode::DataSglLengthInvalid);
                }
                bytes_ -= descriptor.length;
                return to_.add(descriptor.address, descriptor.length);
            case spec::kSglSegment:
            case spec::kSglLastSegment:
                // A last segment has data only, and the others lead on with their last descriptor.
                if (!last || in_last_ || descriptor.length == 0 ||
                    descriptor.length % sizeof(spec::SglDescriptor) != 0) {
                    return refused(StatusCode::InvalidSglSegment);
                }
                next_ = descriptor;
                pending_ = true;
                return 0;
            default:
                return refused(StatusCode::SglTypeInvalid);
        }
    }

    std::uint16_t segment() {
        constexpr std::size_t kGroup = 16;
        pending_ = false;
        in_last_ = next_.identifier == spec::kSglLastSegment;
        std::uint64_t address = next_.address;
        std::uint64_t left = next_.length / sizeof(spec::SglDescriptor);
        std::array<spec::SglDescriptor, kGroup> descriptors;
        while (left > 0) {
            const auto group = std::span(descriptors).first(std::min<std::uint64_t>(left, kGroup));
            if (!load(guest_, address, group)) {
                return refused(StatusCode::DataTransferError);
            }
            address += group.size_bytes();
            for (const spec::SglDescriptor& descriptor : group) {
                --left;
                if (const std::uint16_t status = take(descriptor, left == 0); status != 0) {
                    return status;
                }
            }
        }
        // A segment that is not the last one ends with a descriptor that leads on.
        return in_last_ || pending_ ? std::uint16_t{0} : refused(StatusCode::InvalidSglSegment);
    }

    const memory::GuestMemory& guest_;
    std::uint64_t bytes_;
    Collector& to_;
    spec::SglDescriptor next_;
    bool pending_ = false;
    bool in_last_ = false;
    std::size_t count_ = 0;
};

}  // namespace

Located locate_data(const memory::GuestMemory& guest,
                    const spec::Command& command,
                    std::uint32_t bytes,
                    std::span<Segment> storage) {
    Collector collector(guest, storage);
    if (bytes == 0) {
        return collector.segments();
    }
    std::uint16_t status = 0;
    switch (command.psdt()) {
        case 0: {
            spec::PrpPair prps;
            std::memcpy(&prps, &command.sgl, sizeof(prps));
            status = walk_prps(guest, prps, bytes, collector);
            break;
        }
        case 1:
        case 2:  // as 1, but for metadata, of which there is none
            status = SglWalk(guest, bytes, collector).run(command.sgl);
            break;
        default:
            status = refused(StatusCode::InvalidField);
            break;
    }
    if (status != 0) {
        return std::unexpected(status);
    }
    return collector.segments();
}

}  // namespace remora::nvme
