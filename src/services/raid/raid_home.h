// SPDX-License-Identifier: Apache-2.0
// RaidHome: what there is once of an array. Its state lives on the first of the array's reactors:
// superblocks, who is in which slot, marks, rebuild, resync and scrub, all of them coroutines.
//
// A leg leaves in this order, which is what keeps the array's promise:
//   1. every channel stops reading from it;
//   2. the others' superblocks say so, durably (one of them that cannot goes the same way);
//   3. every channel lets go of it, and finishes the writes that it missed.
// More losses than the level can bear are not written down: nothing is acknowledged after them, so
// that the members can be put together again as they are.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "block/reactor_context.h"
#include "reactor/gate.h"
#include "services/raid/legs.h"
#include "services/raid/raid_channel.h"
#include "services/raid/raid_options.h"
#include "services/raid/raid_shared.h"
#include "services/raid/turnstile.h"

namespace remora::services::raid {

class RaidHome final : private RaidHomeCalls {
  public:
    RaidHome(RaidOptions options, std::span<const block::ReactorContext> reactors);
    RaidHome(const RaidHome&) = delete;
    RaidHome& operator=(const RaidHome&) = delete;
    ~RaidHome();

    // Control reactor. The first call is create() or assemble(), the last one is stop(), also after
    // a failure.
    reactor::Task<core::Result<void>> create(std::vector<Member> members);
    reactor::Task<core::Result<void>> assemble(std::vector<Member> members);
    reactor::Task<> stop();
    reactor::Task<core::Result<void>> add_spare(Member member);
    reactor::Task<core::Result<void>> replace(std::string member, Member with);
    reactor::Task<core::Result<void>> remove_member(std::string member);
    void set_rate_limit(std::uint64_t bytes_per_second);
    core::Result<void> start_scrub();
    void cancel_scrub();
    [[nodiscard]] RaidStatus status() const;
    void set_observer(RaidObserver* observer) { observer_ = observer; }

    // Any of the array's reactors.
    [[nodiscard]] const RaidOptions& options() const { return options_; }
    [[nodiscard]] const block::Geometry& geometry() const { return geometry_; }
    core::Result<std::unique_ptr<block::Channel>> open_channel();

  private:
    struct FreeRoom {
        void operator()(std::byte* memory) const;
    };
    using Room = std::unique_ptr<std::byte, FreeRoom>;
    static Room make_room(std::size_t bytes);

    struct PerReactor {
        explicit PerReactor(const block::ReactorContext& at) : context(at) {}
        block::ReactorContext context;
        View view;
        LegMask open = 0;
        core::List<RaidChannel, RaidChannel> channels;
        reactor::Gate lanes;
    };
    struct LegStatus {
        MemberStatus member;
        int leg = kNoLeg;  ///< Whose counters are its own.
    };
    /// What a member that is given to us turned out to be.
    struct Candidate {
        Member member;
        int leg = kNoLeg;
        std::optional<Superblock> superblock;
        std::string why_not;      ///< There is no superblock.
        bool unreadable = false;  ///< Nobody knows whether there is.
    };

    // RaidHomeCalls
    void report(int leg, block::Status status, bool wrote) override;
    void want_mark(std::size_t region) override;
    void want_settled() override;

    // raid_home.cc: state changes.
    reactor::Task<> handle_report(int leg, block::Status status, bool wrote);
    reactor::Task<> remove_leg(int leg, std::string reason);
    reactor::Task<bool> persist();
    reactor::Task<> publish();
    void drop_from_table(int leg);
    void let_go_of_suspects();
    [[nodiscard]] bool can_lose(int leg) const;
    [[nodiscard]] std::optional<std::size_t> find_slot(const std::string& name) const;
    [[nodiscard]] bool is_degraded() const;
    [[nodiscard]] int incoming_leg() const;
    [[nodiscard]] std::size_t incoming_slot() const;
    void note(std::size_t slot, MemberState state, std::string reason, int leg);
    void close_later(int leg, bool wipe);
    reactor::Task<> close_leg(int leg, bool wipe);
    reactor::Task<core::Result<void>> open_everywhere(int leg);
    core::Result<int> open_at_home(const Member& member);
    reactor::Task<core::Result<void>> begin_rebuild(std::size_t slot, int leg);
    reactor::Task<core::Result<int>> prepare(Member member);
    core::Result<void> check_joins(const Member& member) const;
    reactor::Task<core::Result<void>> add_spare_here(Member member);
    reactor::Task<core::Result<void>> replace_here(std::string name, Member with);
    reactor::Task<core::Result<void>> remove_here(std::string name, int& leaving);
    reactor::Task<> wait_released(const block::Device* device);
    void show_status();
    [[nodiscard]] RaidStatus make_status(std::vector<int>& legs) const;

    // raid_start.cc, raid_assemble.cc, raid_recover.cc
    static core::Result<void> check_readable(const Candidate& candidate);
    reactor::Task<core::Result<void>> create_here(std::vector<Member> members);
    reactor::Task<core::Result<void>> take_new(std::vector<Member> members);
    reactor::Task<core::Result<void>> write_new(LegMask& begun);
    reactor::Task<> wipe_begun(LegMask begun);
    reactor::Task<core::Result<void>> assemble_here(std::vector<Member> members);
    reactor::Task<> read_superblocks(Candidate& candidate);
    reactor::Task<> read_all_superblocks(std::vector<Candidate>& candidates);
    core::Result<void> check_new(const std::vector<Member>& members) const;
    core::Result<void> choose_newest(const std::vector<Candidate>& candidates);
    core::Result<void> choose_members(std::vector<Candidate>& candidates);
    void keep_legs(const std::vector<Member>& members);
    core::Result<void> check_enough() const;
    reactor::Task<> read_candidates(std::vector<Member> members,
                                    std::vector<Candidate>& candidates);
    void note_missing();
    void refuse(Candidate& candidate, std::string reason);
    void make_shared(const std::vector<Member>& members);
    reactor::Task<bool> write_all(int leg, std::uint64_t at, std::span<const std::byte> bytes);
    reactor::Task<core::Result<void>> wipe(int leg);
    reactor::Task<core::Result<void>> replay_logs();
    reactor::Task<bool> replay(const LogEntry& entry, std::span<const std::byte> payload);
    reactor::Task<core::Result<void>> load_bitmaps();
    void start_background();
    reactor::Task<> end_cleanly();

    // raid_jobs.cc, raid_scrub.cc, raid_marks.cc
    reactor::Task<> run_jobs();
    [[nodiscard]] bool needs_resync() const;
    reactor::Task<> resync_mirrors();
    reactor::Task<> resync_region(std::size_t region);
    reactor::Task<bool> copy_primary(std::size_t set,
                                     std::uint64_t at,
                                     std::size_t bytes,
                                     bool or_another);
    reactor::Task<> resync_parity();
    reactor::Task<> rebuild();
    reactor::Task<bool> rebuild_piece(std::size_t slot,
                                      int leg,
                                      std::uint64_t at,
                                      std::size_t bytes);
    reactor::Task<> checkpoint();
    reactor::Task<> finish_rebuild(std::size_t slot, int leg);
    reactor::Task<> take_spare();
    reactor::Task<> scrub();
    reactor::Task<> scrub_mirror(std::size_t set, std::uint64_t at, std::size_t bytes);
    reactor::Task<> scrub_parity(std::uint64_t stripe, std::uint64_t row, std::size_t bytes);
    void count_mismatches(std::span<const std::byte> left,
                          std::span<const std::byte> right,
                          std::uint64_t at);
    reactor::Task<> lock(RangeLock lock);
    reactor::Task<> pace(std::uint64_t bytes);
    void begin_job(Progress::Kind kind, std::uint64_t done, std::uint64_t total);
    reactor::Task<> run_tidy();
    reactor::Task<> write_marks();
    reactor::Task<> write_bitmap();
    reactor::Task<> settle_logs();
    reactor::Task<> flush_all();

    // Control reactor.
    reactor::Reactor& control_;
    RaidObserver* observer_ = nullptr;
    RaidStatus status_;
    std::vector<int> status_legs_;  // of each member in it, or kNoLeg

    // Fixed once it has started.
    const RaidOptions options_;
    std::vector<std::unique_ptr<PerReactor>> reactors_;
    reactor::Reactor& home_;
    block::Geometry geometry_;
    std::unique_ptr<RaidShared> shared_;

    // Home reactor.
    Superblock table_;
    View view_;
    LegMask spares_ = 0;
    LegMask used_legs_ = 0;  // also those that are being closed
    LegMask wipe_legs_ = 0;  // suspects that are to carry nothing of ours afterwards
    Legs legs_;
    Turnstile changes_;
    Turnstile marks_;
    reactor::Gate gate_;
    std::array<LegStatus, kMaxMembers> notes_;  // of slots without a member
    std::vector<LegStatus> refused_;
    Room meta_room_;    // superblocks, in changes_
    Room bitmap_room_;  // in marks_
    Room job_room_;
    std::vector<bool> marked_;    // on the members, or about to be
    std::vector<bool> clearing_;  // of those, what is to go once it is flushed
    std::vector<std::size_t> wanted_marks_;
    bool marking_ = false;
    bool settling_ = false;
    bool stopping_ = false;
    bool scrub_wanted_ = false;
    bool started_ = false;
    reactor::Signal job_signal_;
    reactor::Signal tidy_signal_;
    core::Nanos paced_{};

    // Written at home, read on the control reactor.
    std::atomic<std::uint64_t> rate_limit_;
    std::atomic<std::uint8_t> job_kind_{0};
    std::atomic<std::uint64_t> job_done_{0};
    std::atomic<std::uint64_t> job_total_{0};
    std::atomic<std::uint64_t> job_rate_{0};
    std::atomic<std::uint64_t> mismatches_{0};
};

}  // namespace remora::services::raid
