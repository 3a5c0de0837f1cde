// SPDX-License-Identifier: Apache-2.0
// GuestDisk: a guest's virtio-blk driver and what the guest does with the disk. It goes by
// interrupts only, as a real driver: one that is lost leaves it stuck, and the world sees that.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/prng.h"
#include "reactor/reactor.h"
#include "tests/sim/host/driver_ring.h"
#include "tests/sim/host/guest_ram.h"
#include "tests/sim/host/host_world.h"
#include "tests/sim/host/request_layout.h"
#include "tests/sim/host/vhost_master.h"

namespace remora::sim {

struct DiskCounts {
    std::uint64_t issued = 0;
    std::uint64_t completed = 0;  ///< Of them, with or without success, or given up.
    std::uint64_t failed = 0;
};

class GuestDisk final : public VhostDevice, private reactor::TimerHandler {
  public:
    GuestDisk(reactor::Reactor& reactor,
              HostWorld& world,
              std::string path,
              WorkloadOptions options,
              core::Prng prng);
    GuestDisk(const GuestDisk&) = delete;
    GuestDisk& operator=(const GuestDisk&) = delete;
    /// What is in flight ends as failed for the oracle.
    ~GuestDisk() override;

    /// The guest starts anew, with memory of its own: what was in flight has failed for the oracle.
    /// The rings must be stopped.
    void reboot();
    /// The workload goes on (it does from the start); the disk issues once its rings run.
    void resume();
    /// Issues nothing new.
    void quiesce();
    /// Everything issued is answered.
    [[nodiscard]] bool drained() const { return in_flight_ == 0; }
    /// Reads the whole region once, then rests. Ends a workload; what is in flight may still be.
    void verify_all();
    /// verify_all() has read everything.
    [[nodiscard]] bool verified() const;

    /// How long the oldest request has been in flight; 0 without any.
    [[nodiscard]] reactor::Nanos oldest_request(reactor::Nanos now) const;
    [[nodiscard]] const DiskCounts& counts() const { return counts_; }
    /// The driver is there: the device was realized and its rings ran once.
    [[nodiscard]] bool started() const { return started_; }
    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] std::uint32_t block_size() const { return block_size_; }
    [[nodiscard]] std::uint64_t block_count() const { return block_count_; }

    // VhostDevice:
    std::uint64_t choose_features(std::uint64_t offered) override;
    [[nodiscard]] const WorkloadOptions& options() const override { return options_; }
    void on_config(const virtio::BlkConfig& config) override;
    [[nodiscard]] const GuestRam& ram() const override { return *ram_; }
    [[nodiscard]] const DriverRing& ring(std::uint16_t queue) const override;
    [[nodiscard]] reactor::Handle kick(std::uint16_t queue) const override;
    [[nodiscard]] reactor::Handle call(std::uint16_t queue) const override;
    void on_started() override;

  private:
    /// A slot rests so long after an error, so that a broken disk is not asked without end.
    static constexpr reactor::Nanos kRestAfterError{100'000'000};

    enum class Mode : std::uint8_t { Working, Quiet, Verifying };

    /// A request's memory and, while it is in flight, what it is.
    struct Slot {
        RequestMemory memory;
        RequestLayout layout;
        RequestShape shape;
        VolumeOracle::OpId op = 0;
        std::uint64_t lba = 0;
        std::uint32_t count = 0;
        bool busy = false;
        bool changes = false;  ///< The blocks' content.
        bool verifies = false;
        reactor::Nanos since{};
        reactor::Nanos ready_at{};  ///< Rests until then.
    };
    struct Queue final : reactor::EventHandler {
        Queue(GuestDisk& disk, std::uint16_t number) : owner(disk), index(number) {}
        void on_event() override { owner.take_completions(*this); }

        GuestDisk& owner;
        std::uint16_t index;
        std::unique_ptr<DriverRing> ring;
        std::vector<Slot> slots;
        std::vector<Slot*> by_head;
        std::unique_ptr<reactor::Event> kick;
        std::unique_ptr<reactor::Event> call;
        reactor::Handle kick_handle = reactor::kNoHandle;  // the events'
        reactor::Handle call_handle = reactor::kNoHandle;
    };
    struct Extent {
        std::uint64_t lba = 0;
        std::uint32_t count = 0;
    };

    void on_timer(reactor::Timer& /*timer*/) override { pump_all(); }
    void forget_requests();
    void build();
    void set_region();
    void pump_all();
    void pump(Queue& queue);
    bool issue(Queue& queue, Slot& slot);
    [[nodiscard]] std::optional<virtio::BlkType> choose_type();
    [[nodiscard]] std::optional<Extent> choose_extent(virtio::BlkType type);
    [[nodiscard]] std::optional<Extent> next_to_verify();
    bool prepare(Slot& slot);
    void begin(Slot& slot);
    [[nodiscard]] bool may_issue() const;
    [[nodiscard]] bool collides(const Extent& extent) const;
    void take_completions(Queue& queue);
    void complete(Slot& slot, std::uint32_t used_bytes);
    void end(Slot& slot, VolumeOracle::End how);
    void check_identity(const Slot& slot);
    void violation(const std::string& what);

    reactor::Reactor& reactor_;
    HostWorld& world_;
    VolumeOracle* oracle_;
    std::string path_;
    WorkloadOptions options_;
    core::Prng prng_;
    reactor::Timer timer_{*this};
    std::uint64_t features_ = 0;
    virtio::BlkConfig config_;
    std::uint32_t block_size_ = 0;
    std::uint64_t block_count_ = 0;
    std::uint64_t first_ = 0;
    std::uint64_t end_ = 0;
    std::unique_ptr<GuestRam> ram_;
    std::vector<std::unique_ptr<Queue>> queues_;
    Mode mode_ = Mode::Working;
    bool started_ = false;
    std::uint64_t in_flight_ = 0;
    DiskCounts counts_;
    std::uint64_t verify_next_ = 0;
    std::vector<Extent> verify_again_;
    std::optional<std::array<std::byte, virtio::kBlkIdBytes>> identity_;
};

}  // namespace remora::sim
