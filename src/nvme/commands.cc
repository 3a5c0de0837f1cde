// SPDX-License-Identifier: Apache-2.0
#include "nvme/commands.h"

#include <cstring>

#include "core/check.h"

namespace remora::nvme {

namespace {

using block::Geometry;
using spec::Command;
using spec::IoOpcode;
using spec::StatusCode;

// Plans are made where they are needed: one that is returned and copied is read back before the
// processor has written it, which costs as much as all else here.

std::uint16_t refused(StatusCode code) {
    return spec::status_field(code, true);
}

std::unexpected<std::uint16_t> refuse(StatusCode code) {
    return std::unexpected(refused(code));
}

/// Range and write checks of all that name blocks by SLBA and NLB.
std::uint16_t plan_range(const Command& command, const Geometry& geometry, IoPlan& plan) {
    plan.lba = spec::starting_lba(command);
    plan.blocks = spec::block_count(command);
    // No namespace here has protection information (NVM Command Set 1.0, PRINFO).
    if ((command.cdw12 & spec::kCdw12ProtectionMask) != 0) {
        return refused(StatusCode::InvalidField);
    }
    if (plan.lba >= geometry.block_count || plan.blocks > geometry.block_count - plan.lba) {
        return refused(StatusCode::LbaOutOfRange);
    }
    if (plan.opcode != block::Opcode::Read && geometry.read_only) {
        return refused(StatusCode::NamespaceWriteProtected);
    }
    return 0;
}

std::uint16_t plan_transfer(const Command& command,
                            const Geometry& geometry,
                            std::uint32_t max_transfer_bytes,
                            IoPlan& plan) {
    // At most 65536 blocks of at most 4096 bytes: fits 32 bits.
    const std::uint64_t bytes = std::uint64_t{spec::block_count(command)} * geometry.block_size;
    if (bytes > max_transfer_bytes) {
        return refused(StatusCode::InvalidField);  // more than MDTS allows
    }
    plan.bytes = static_cast<std::uint32_t>(bytes);
    return plan_range(command, geometry, plan);
}

std::uint16_t plan_dataset_management(const Command& command,
                                      const Geometry& geometry,
                                      IoPlan& plan) {
    plan = IoPlan{.opcode = block::Opcode::Discard,
                  .action = Action::Discard,
                  .range_bytes = ((command.cdw10 & 0xffU) + 1) *
                                 static_cast<std::uint32_t>(sizeof(spec::DsmRange)),
                  .transfer = Transfer::FromHost};
    // Hosts may send a buffer for all 256 ranges whatever the number of ranges is (Linux always
    // does): what is behind the last one is carried and not looked at.
    constexpr auto kFullList =
        static_cast<std::uint32_t>(spec::kDsmMaxRanges * sizeof(spec::DsmRange));
    // A PRP command does not tell: its list ends with its last range.
    const std::uint32_t sent = command.psdt() == 0 ? 0U : command.sgl.length.get();
    plan.bytes = sent > plan.range_bytes && sent <= kFullList ? sent : plan.range_bytes;
    if ((command.cdw11 & spec::kDsmDeallocate) != 0 && geometry.read_only) {
        return refused(StatusCode::NamespaceWriteProtected);
    }
    return 0;
}

std::uint16_t plan_copy(const Command& command, const Geometry& geometry, IoPlan& plan) {
    const std::uint32_t ranges = (command.cdw12 & 0xffU) + 1;
    if (ranges > spec::kCopyMaxRanges) {
        return refused(StatusCode::CommandSizeLimitExceeded);
    }
    constexpr std::uint32_t kRefused =
        spec::kCopyFormatMask | spec::kCopyReadProtectionMask | spec::kCdw12ProtectionMask;
    if ((command.cdw12 & kRefused) != 0) {
        return refused(StatusCode::InvalidField);
    }
    if (geometry.read_only) {
        return refused(StatusCode::NamespaceWriteProtected);
    }
    const auto bytes = ranges * static_cast<std::uint32_t>(sizeof(spec::CopyRange));
    plan = IoPlan{.opcode = block::Opcode::Write,
                  .action = Action::Copy,
                  .force_unit_access = (command.cdw12 & spec::kCdw12ForceUnitAccess) != 0,
                  .range_bytes = bytes,
                  .lba = spec::starting_lba(command),
                  .transfer = Transfer::FromHost,
                  .bytes = bytes};
    return 0;
}

/// NVM Command Set 1.0, Compare and Write: the only fused operation. The opcode says what either
/// does to the volume.
std::uint16_t plan_fused(const Command& command,
                         const Geometry& geometry,
                         std::uint32_t max_transfer_bytes,
                         IoPlan& plan) {
    const auto opcode = static_cast<IoOpcode>(command.opcode);
    const bool compare = command.fuse() == spec::kFuseFirst && opcode == IoOpcode::Compare;
    const bool write = command.fuse() == spec::kFuseSecond && opcode == IoOpcode::Write;
    if (!compare && !write) {
        return refused(StatusCode::InvalidField);
    }
    const bool fua = write && (command.cdw12 & spec::kCdw12ForceUnitAccess) != 0;
    plan = IoPlan{.opcode = compare ? block::Opcode::Read : block::Opcode::Write,
                  .action = Action::Fused,
                  .force_unit_access = fua,
                  .transfer = Transfer::FromHost};
    return plan_transfer(command, geometry, max_transfer_bytes, plan);
}

std::uint16_t plan_reservation(const Command& command,
                               std::uint32_t max_transfer_bytes,
                               IoPlan& plan) {
    const auto bytes = reservation_data_bytes(command);
    if (!bytes) {
        return bytes.error();
    }
    if (*bytes > max_transfer_bytes) {
        return refused(StatusCode::InvalidField);
    }
    const bool report = static_cast<IoOpcode>(command.opcode) == IoOpcode::ReservationReport;
    plan = IoPlan{.action = Action::Reservation,
                  .transfer = report ? Transfer::ToHost : Transfer::FromHost,
                  .bytes = *bytes};
    return 0;
}

}  // namespace

std::uint16_t decode_io(const Command& command,
                        const Namespace& target,
                        std::uint32_t max_transfer_bytes,
                        IoPlan& plan) {
    const Geometry& geometry = target.geometry;
    if (command.fuse() != 0) {
        return plan_fused(command, geometry, max_transfer_bytes, plan);
    }
    const bool fua = (command.cdw12 & spec::kCdw12ForceUnitAccess) != 0;
    switch (static_cast<IoOpcode>(command.opcode)) {
        case IoOpcode::Flush:
            plan = IoPlan{.opcode = block::Opcode::Flush};
            return 0;
        case IoOpcode::Read:
            plan = IoPlan{.opcode = block::Opcode::Read, .transfer = Transfer::ToHost};
            return plan_transfer(command, geometry, max_transfer_bytes, plan);
        case IoOpcode::Write:
            plan = IoPlan{.opcode = block::Opcode::Write,
                          .force_unit_access = fua,
                          .transfer = Transfer::FromHost};
            return plan_transfer(command, geometry, max_transfer_bytes, plan);
        case IoOpcode::WriteZeroes:
            if (!geometry.can_write_zeroes) {
                return refused(StatusCode::InvalidOpcode);
            }
            plan = IoPlan{.opcode = block::Opcode::WriteZeroes, .force_unit_access = fua};
            return plan_range(command, geometry, plan);
        case IoOpcode::WriteUncorrectable:
            // No data moves, so MDTS is no limit (and WUSL says that there is none).
            plan = IoPlan{.opcode = block::Opcode::Write, .action = Action::Mark};
            return plan_range(command, geometry, plan);
        case IoOpcode::DatasetManagement:
            return plan_dataset_management(command, geometry, plan);
        case IoOpcode::Compare:
            plan = IoPlan{.opcode = block::Opcode::Read,
                          .action = Action::Compare,
                          .transfer = Transfer::FromHost};
            return plan_transfer(command, geometry, max_transfer_bytes, plan);
        case IoOpcode::Verify:
            plan = IoPlan{.opcode = block::Opcode::Read, .action = Action::Verify};
            return plan_range(command, geometry, plan);
        case IoOpcode::Copy:
            return plan_copy(command, geometry, plan);
        case IoOpcode::ReservationRegister:
        case IoOpcode::ReservationReport:
        case IoOpcode::ReservationAcquire:
        case IoOpcode::ReservationRelease:
            if (!target.can_reserve) {
                break;
            }
            return plan_reservation(command, max_transfer_bytes, plan);
    }
    return refused(StatusCode::InvalidOpcode);
}

std::expected<DataPath, std::uint16_t> decode_sgl(const Command& command,
                                                  Transfer transfer,
                                                  std::uint32_t bytes,
                                                  std::uint32_t in_capsule_bytes) {
    if (transfer == Transfer::None || bytes == 0) {
        // A capsule with data nobody asked for.
        return in_capsule_bytes == 0 ? std::expected<DataPath, std::uint16_t>(DataPath::None)
                                     : refuse(StatusCode::InvalidField);
    }
    // Fabrics commands use SGLs only (NVM Express Base 2.0, PSDT).
    if (command.psdt() == 0) {
        return refuse(StatusCode::InvalidField);
    }
    switch (command.sgl.identifier) {
        case spec::kSglInCapsule:
            if (transfer != Transfer::FromHost) {
                return refuse(StatusCode::SglTypeInvalid);
            }
            if (command.sgl.address != 0) {
                return refuse(StatusCode::SglOffsetInvalid);
            }
            if (command.sgl.length != bytes || in_capsule_bytes != bytes) {
                return refuse(StatusCode::DataSglLengthInvalid);
            }
            return DataPath::InCapsule;
        case spec::kSglTransport:
            if (in_capsule_bytes != 0) {
                return refuse(StatusCode::InvalidField);
            }
            if (command.sgl.length != bytes) {
                return refuse(StatusCode::DataSglLengthInvalid);
            }
            return DataPath::Transport;
        default:
            return refuse(StatusCode::SglTypeInvalid);
    }
}

spec::CopyRange copy_range(std::span<const std::byte> list, std::size_t index) {
    spec::CopyRange range;
    CHECK((index + 1) * sizeof(range) <= list.size());
    std::memcpy(&range, list.data() + index * sizeof(range), sizeof(range));
    return range;
}

std::expected<void, CopyFault> check_copy(std::span<const std::byte> list,
                                          const IoPlan& plan,
                                          const Geometry& geometry,
                                          std::uint64_t& blocks) {
    blocks = 0;
    for (std::uint32_t i = 0; i < list.size() / sizeof(spec::CopyRange); ++i) {
        const spec::CopyRange range = copy_range(list, i);
        const std::uint64_t count = range.block_count.get() + 1U;
        const auto fault = [i](StatusCode code) {
            return std::unexpected(CopyFault{spec::status_field(code, true), i});
        };
        blocks += count;
        if (count > kCopyRangeBytes / geometry.block_size ||
            blocks > kCopyBytes / geometry.block_size) {
            return fault(StatusCode::CommandSizeLimitExceeded);
        }
        const auto outside = [&geometry](std::uint64_t lba, std::uint64_t size) {
            return lba >= geometry.block_count || size > geometry.block_count - lba;
        };
        if (outside(range.lba, count) || outside(plan.lba, blocks)) {
            return fault(StatusCode::LbaOutOfRange);
        }
    }
    return {};
}

std::expected<bool, std::uint16_t> next_range(std::span<const std::byte> list,
                                              std::size_t& index,
                                              const Geometry& geometry,
                                              std::uint64_t& lba,
                                              std::uint32_t& blocks) {
    while ((index + 1) * sizeof(spec::DsmRange) <= list.size()) {
        spec::DsmRange range;
        std::memcpy(&range, list.data() + index * sizeof(range), sizeof(range));
        ++index;
        lba = range.lba;
        blocks = range.block_count;
        if (lba > geometry.block_count || blocks > geometry.block_count - lba) {
            return refuse(StatusCode::LbaOutOfRange);
        }
        if (blocks > 0) {
            return true;
        }
    }
    return false;
}

}  // namespace remora::nvme
