// SPDX-License-Identifier: Apache-2.0
// Lane, the part that turns a piece of a request into an NVMe command.
#include <algorithm>
#include <cstring>

#include "backends/nvme_tcp/lane.h"
#include "nvme/spec/command.h"

namespace remora::backends::nvme_tcp {

using block::Opcode;
using nvme::spec::IoOpcode;

namespace {

void set_range(nvme::spec::Command& entry, std::uint64_t lba, std::uint32_t blocks) {
    entry.cdw10 = static_cast<std::uint32_t>(lba & 0xffffffffU);
    entry.cdw11 = static_cast<std::uint32_t>(lba >> 32U);
    entry.cdw12 = blocks - 1;
}

/// NVM Command Set 1.0, Dataset Management: one range, with the deallocate attribute.
void set_discard(Command& command, std::uint64_t lba, std::uint32_t blocks) {
    nvme::spec::DsmRange range;
    range.block_count = blocks;
    range.lba = lba;
    static_assert(sizeof(range) == sizeof(command.small));
    std::memcpy(command.small.data(), &range, sizeof(range));
    command.has_small = true;
    command.transfer = Transfer::ToController;
    command.length = std::uint32_t{sizeof(range)};
    command.entry.cdw10 = 0;  // one range, 0's based
    command.entry.cdw11 = nvme::spec::kDsmDeallocate;
}

/// NLB has 16 bits and is 0's based, so a command has at most 65536 blocks; and at least one.
std::uint32_t zeroes_limit(std::uint64_t blocks) {
    return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(blocks, 1, 65536));
}

}  // namespace

/// Fills in the command for the request's next blocks. Returns how many they are.
std::uint32_t Lane::build_part(const block::Request& request,
                               const Progress& progress,
                               Command& command) const {
    const NamespaceView& view = *progress.view;
    const std::uint64_t lba = request.lba + progress.next_block;
    const std::uint32_t left = request.block_count - progress.next_block;
    command.entry.nsid = view.nsid;
    const auto set_opcode = [&command](IoOpcode opcode) {
        command.entry.opcode = static_cast<std::uint8_t>(opcode);
    };
    std::uint32_t blocks = 0;
    switch (request.opcode) {
        case Opcode::Read:
        case Opcode::Write: {
            const bool write = request.opcode == Opcode::Write;
            blocks = std::min(left, std::max(limits_.max_transfer_bytes >> view.block_shift, 1U));
            set_opcode(write ? IoOpcode::Write : IoOpcode::Read);
            set_range(command.entry, lba, blocks);
            if (write && request.force_unit_access) {
                command.entry.cdw12 = (blocks - 1) | nvme::spec::kCdw12ForceUnitAccess;
            }
            command.transfer = write ? Transfer::ToController : Transfer::FromController;
            command.segments = request.data;
            command.offset = std::uint64_t{progress.next_block} << view.block_shift;
            command.length = blocks << view.block_shift;
            return blocks;
        }
        case Opcode::Flush:
            set_opcode(IoOpcode::Flush);
            return 0;
        case Opcode::Discard:
            if (!view.discard_by_zeroing) {
                blocks = std::min(left, limits_.max_discard_blocks);
                set_opcode(IoOpcode::DatasetManagement);
                set_discard(command, lba, blocks);
                return blocks;
            }
            [[fallthrough]];
        case Opcode::WriteZeroes:
            blocks = std::min(left, zeroes_limit(limits_.max_zeroes_bytes >> view.block_shift));
            set_opcode(IoOpcode::WriteZeroes);
            set_range(command.entry, lba, blocks);
            if (request.opcode == Opcode::Discard) {
                command.entry.cdw12 = (blocks - 1) | nvme::spec::kCdw12Deallocate;
            } else if (request.force_unit_access) {
                command.entry.cdw12 = (blocks - 1) | nvme::spec::kCdw12ForceUnitAccess;
            }
            return blocks;
    }
    CHECK(false);
    return 0;
}

}  // namespace remora::backends::nvme_tcp
