// SPDX-License-Identifier: Apache-2.0
// RaidDevice: one volume made of several (docs/RAID.md).
//
//   front end ─► RaidChannel of each reactor ─► channels of the members
//                     │ a member failed, a region is to be marked        ▲
//                     ▼                                                  │
//                 RaidHome, on reactors[0]: superblocks, state, rebuild ─┘
//
// All calls are made on the control reactor, which is the one that made the array, unless they say
// otherwise. The members are not stopped with it: their owner does that.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "block/device.h"
#include "block/reactor_context.h"
#include "core/result.h"
#include "reactor/task.h"
#include "services/raid/raid_options.h"

namespace remora::services::raid {

class RaidHome;

class RaidDevice final : public block::Device {
  public:
    /// Of rebuild, resync and scrub, each.
    static constexpr std::uint64_t kDefaultBytesPerSecond = 200 * core::kMiB;

    /// A new array. Its superblocks are durable on all members when it returns; what was on them is
    /// lost. `reactors` are all that may open a channel; the first one does the array's own I/O.
    /// RAID 1, 5 and 10 begin to make their members agree in the background.
    /// Errors: InvalidArgument (number, sizes or names of members, the chunk), AlreadyExists (a
    /// member of another array), Unavailable (a member that cannot be read or written).
    static reactor::Task<core::Result<std::unique_ptr<RaidDevice>>> create(
        RaidOptions options,
        std::vector<Member> members,
        std::span<const block::ReactorContext> reactors);

    /// The array that is on `members` (all of them, spares too), in any order. Starts degraded when
    /// enough are there; one that is not used is Failed, and says why.
    /// Errors: InvalidArgument (it is another level or chunk), FailedPrecondition (too few: names
    /// those missing), DataLoss (what is there cannot be put together).
    static reactor::Task<core::Result<std::unique_ptr<RaidDevice>>> assemble(
        RaidOptions options,
        std::vector<Member> members,
        std::span<const block::ReactorContext> reactors);

    ~RaidDevice() override;

    [[nodiscard]] RaidStatus status() const;
    /// Null: nobody. It outlives the array or its own removal.
    void set_observer(RaidObserver* observer);
    [[nodiscard]] Level level() const;

    /// A member in waiting: takes a failed one's place by itself. What was on it is lost.
    /// Errors: FailedPrecondition (a level without redundancy), InvalidArgument (size, block size,
    /// name), AlreadyExists (in this array or another one), ResourceExhausted (kMaxSpares),
    /// Unavailable.
    reactor::Task<core::Result<void>> add_spare(Member member);
    /// Begins to rebuild `member`'s place onto `with`, which may be the same device once it has
    /// failed. A good `member` goes on serving until that is done, and is then released.
    /// Errors: NotFound, FailedPrecondition (another rebuild, or no redundancy), as add_spare.
    reactor::Task<core::Result<void>> replace(std::string member, Member with);
    /// Ends the use of `member`, a spare's too; its device is not touched after that.
    /// Errors: NotFound, FailedPrecondition (it has the last good copy of something).
    reactor::Task<core::Result<void>> remove_member(std::string member);

    /// 0: no limit.
    void set_rate_limit(std::uint64_t bytes_per_second);
    /// Compares all copies, or parity, in the background and mends what differs.
    /// Errors: FailedPrecondition (degraded, no redundancy, or something like it is under way).
    core::Result<void> start_scrub();
    void cancel_scrub();

    [[nodiscard]] block::Geometry geometry() const override;
    /// Errors: FailedPrecondition (not one of the array's reactors), those of the members.
    core::Result<std::unique_ptr<block::Channel>> open_channel() override;
    reactor::Task<> stop() override;

  private:
    explicit RaidDevice(std::unique_ptr<RaidHome> home);
    std::unique_ptr<RaidHome> home_;
};

}  // namespace remora::services::raid
