// SPDX-License-Identifier: Apache-2.0
// NVM I/O commands -> block requests: every check a command needs before it costs anything. Pure
// functions; the transport moves the data afterwards.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

#include "block/request.h"
#include "nvme/namespace.h"
#include "nvme/spec/command.h"

namespace remora::nvme {

/// Which way a command's data goes.
enum class Transfer : std::uint8_t { None, ToHost, FromHost };

/// What carries an I/O command out.
enum class Action : std::uint8_t {
    Request,      ///< One block request over the command's data.
    Discard,      ///< One a range of the list that is the command's data.
    Compare,      ///< Reads, piece by piece, against the command's data.
    Verify,       ///< Reads, piece by piece.
    Fused,        ///< Compare or Write of a fused pair.
    Copy,         ///< Reads and writes, piece by piece of each range of the list.
    Mark,         ///< Nothing of the volume: its blocks are marked uncorrectable.
    Rewrite,      ///< Of no command at first: a Request that turned out to clear marks.
    Reservation,  ///< Nothing of the volume: the control reactor does it.
};

/// An I/O command that may be carried out once its data is here.
struct IoPlan {
    block::Opcode opcode = block::Opcode::Read;
    Action action = Action::Request;
    bool force_unit_access = false;
    std::uint32_t range_bytes = 0;  ///< Discard, Copy: this much of the data is the list.
    std::uint64_t lba = 0;
    std::uint32_t blocks = 0;
    Transfer transfer = Transfer::None;
    std::uint32_t bytes = 0;  ///< Of data.
};

/// What the plan of anything but a reservation command does to the volume.
constexpr CommandGroup group_of(const IoPlan& plan) {
    return plan.opcode == block::Opcode::Read ? CommandGroup::Read : CommandGroup::Write;
}

/// Zero, or the status field to answer with: then `plan` is of no use.
std::uint16_t decode_io(const spec::Command& command,
                        const Namespace& target,
                        std::uint32_t max_transfer_bytes,
                        IoPlan& plan);

/// How the data of a command travels.
enum class DataPath : std::uint8_t { None, InCapsule, Transport };

/// Checks the command's SGL against the data it needs and the bytes its capsule carried. The error
/// is the status field to answer with.
std::expected<DataPath, std::uint16_t> decode_sgl(const spec::Command& command,
                                                  Transfer transfer,
                                                  std::uint32_t bytes,
                                                  std::uint32_t in_capsule_bytes);

/// The source ranges of a Copy, of which `list` has whole ones.
spec::CopyRange copy_range(std::span<const std::byte> list, std::size_t index);

struct CopyFault {
    std::uint16_t status = 0;
    std::uint32_t range = 0;  ///< The completion's DW0: the first range that is not copied.
};
/// Checks the ranges of a Copy to `plan.lba` before anything is written. `blocks` is the sum.
std::expected<void, CopyFault> check_copy(std::span<const std::byte> list,
                                          const IoPlan& plan,
                                          const block::Geometry& geometry,
                                          std::uint64_t& blocks);

/// Takes the next range worth discarding out of a Dataset Management list, starting at `index`,
/// which moves on. False at the end; the error is a status field.
std::expected<bool, std::uint16_t> next_range(std::span<const std::byte> list,
                                              std::size_t& index,
                                              const block::Geometry& geometry,
                                              std::uint64_t& lba,
                                              std::uint32_t& blocks);

}  // namespace remora::nvme
