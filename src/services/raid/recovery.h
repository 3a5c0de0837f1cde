// SPDX-License-Identifier: Apache-2.0
// Recovery: reads what a slot should have from the others, and writes it back to a leg that could
// not give it. For coroutines that hold the lock of what they work on.
#pragma once

#include <cstdint>
#include <span>

#include "reactor/task.h"
#include "services/raid/legs.h"
#include "services/raid/raid_shared.h"

namespace remora::services::raid {

/// On the reactor of `legs`. `view` is as it is at each moment.
class Recovery {
  public:
    Recovery(RaidShared& shared, Legs& legs, const View& view)
        : shared_(shared), legs_(legs), view_(view) {}

    /// What `out` must be for read() of so many bytes: RAID 5 reads the others into the rest.
    [[nodiscard]] std::size_t room_for(std::size_t bytes) const {
        return shared_.layout.level() == Level::Raid5 ? bytes * shared_.layout.slots() : bytes;
    }
    /// As much at a time as a buffer of `room` is enough for: whole rows.
    [[nodiscard]] std::size_t most_in(std::size_t room) const;

    /// Fills the first `bytes` of `room` with what is at `offset` of `slot`, without the legs of
    /// `avoid`. IoError when no way to it is left.
    reactor::Task<block::Status> read(std::size_t slot,
                                      std::uint64_t offset,
                                      std::size_t bytes,
                                      std::span<std::byte> room,
                                      LegMask avoid);

    /// Writes what was read back to `leg`, if it is still there, and reports it when that fails.
    reactor::Task<bool> mend(int leg, std::uint64_t offset, std::span<const std::byte> bytes);

  private:
    reactor::Task<block::Status> read_mirror(std::size_t slot,
                                             std::uint64_t offset,
                                             std::span<std::byte> out,
                                             LegMask avoid);
    reactor::Task<block::Status> read_parity(std::size_t slot,
                                             std::uint64_t offset,
                                             std::size_t bytes,
                                             std::span<std::byte> room,
                                             LegMask avoid);
    void count_errors(LegMask failed, const IoGroup& group);

    RaidShared& shared_;
    Legs& legs_;
    const View& view_;
};

/// Whether a member that says this is gone, rather than one place of its medium.
constexpr bool is_gone(block::Status status) {
    return status == block::Status::PathError || status == block::Status::Aborted;
}

}  // namespace remora::services::raid
