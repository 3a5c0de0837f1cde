// SPDX-License-Identifier: Apache-2.0
// IrqTable: the interrupts of a PCI device towards its client: event counters, masks, and what was
// raised while nobody could be told. Owned by a session, on its reactor.
//
//   MSI-X, MSI: edges. Each vector has an event counter; raised while masked or without one, it
//               pends and is told once that has changed.
//   INTx:       a level. Told once when it rises, masked by that, and told again when the client
//               unmasks it and the level is still there (VFIO_IRQ_INFO_AUTOMASKED) a moment later.
//
// That moment: QEMU unmasks at the first access of the guest's to a BAR, with which the first of
// the handlers on the line says what it has taken; what the others are about to take keeps the
// level high. Told of that at once, QEMU would raise an interrupt that finds nothing and that
// nothing ends, as the guest has no more to say to us: after 100,000 calls it turns the line off.
//
// Spec: QEMU docs/interop/vfio-user.rst, VFIO_USER_DEVICE_SET_IRQS.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <vector>

#include "reactor/io.h"
#include "reactor/timer.h"
#include "vfio_user/message.h"
#include "vfio_user/session_state.h"

namespace remora::vfio_user {

/// How many interrupts of each kind there are.
struct IrqCounts {
    std::uint32_t msix = 0;
    std::uint32_t msi = 0;
    std::uint32_t intx = 1;
};

/// Who knows the level of INTx.
class LevelSource {
  public:
    /// Calls IrqTable::set_intx_level() with what it is now.
    virtual void refresh_level() = 0;

  protected:
    ~LevelSource() = default;
};

class IrqTable final : private reactor::EventHandler, private reactor::TimerHandler {
  public:
    IrqTable(reactor::Io& io, const IrqCounts& counts, LevelSource& level);
    IrqTable(const IrqTable&) = delete;
    IrqTable& operator=(const IrqTable&) = delete;

    /// The answer to GET_IRQ_INFO, but for argsz; false when there is no such index.
    [[nodiscard]] bool describe(std::uint32_t index, IrqInfo& to) const;
    /// SET_IRQS with what followed its payload, and its handles, of which what is kept is taken.
    /// The error is an errno.
    std::expected<void, int> set(const IrqSet& request,
                                 std::span<const std::byte> data,
                                 reactor::HandleBox& handles);

    /// Raises one MSI-X vector.
    void raise(std::uint32_t vector) { raise(at(kIrqMsix, vector)); }
    /// Raises the only MSI.
    void raise_msi() { raise(at(kIrqMsi, 0)); }
    /// Asks the client to give the device back.
    void request_return() { raise(at(kIrqRequest, 0)); }
    void set_intx_level(bool high);
    /// The vectors that were raised and not told, 64 of them from `first`, as PCI's pending bits.
    [[nodiscard]] std::uint64_t pending(std::uint32_t first) const;
    /// The client listens to some MSI-X vector.
    [[nodiscard]] bool has_msix() const { return listened_msix_ > 0; }
    [[nodiscard]] bool has_msi() const { return listened_msi_ > 0; }
    /// Signals sent, of all kinds.
    [[nodiscard]] std::uint64_t signals() const { return signals_; }
    /// Nothing is pending and no level is high: the device was reset. Listeners stay.
    void reset();

    /// From then on nothing is told any more.
    [[nodiscard]] IrqState freeze();
    /// Takes the handles. What there is no line for any more is left out.
    void restore(const IrqState& from);

  private:
    struct Line {
        std::unique_ptr<reactor::Event> event;
        reactor::Handle handle = reactor::kNoHandle;  // the event's
        bool masked = false;
        bool pending = false;
    };
    /// As long as a guest's handlers take for what they have found.
    static constexpr core::Nanos kIntxPause = std::chrono::microseconds(100);

    void on_event() override { unmask(at(kIrqIntx, 0)); }
    void on_timer(reactor::Timer& timer) override;
    [[nodiscard]] std::uint32_t count(std::uint32_t index) const;
    Line& at(std::uint32_t index, std::uint32_t number);
    void raise(Line& line);
    void mask(Line& line) { line.masked = true; }
    void unmask(Line& line);
    /// Takes the handle; kNoHandle: nobody listens. False: it is no event counter.
    bool listen(std::uint32_t index, Line& line, reactor::Handle handle);
    void told(std::uint32_t index, Line& line);
    bool take_unmask_event(reactor::Handle handle);
    std::expected<void, int> set_events(const IrqSet& request, reactor::HandleBox& handles);
    std::expected<void, int> set_unmask_event(const IrqSet& request, reactor::HandleBox& handles);
    void disable(std::uint32_t index);
    void act(std::uint32_t action, Line& line);

    reactor::Io& io_;
    LevelSource& level_;
    std::array<std::vector<Line>, kIrqCount> lines_;
    reactor::Timer pause_{*this};
    core::Nanos intx_from_{};                       // not told earlier
    std::unique_ptr<reactor::Event> unmask_event_;  // INTx: signalled by the client to unmask
    reactor::Handle unmask_handle_ = reactor::kNoHandle;
    bool intx_high_ = false;
    std::uint32_t listened_msix_ = 0;
    std::uint32_t listened_msi_ = 0;
    std::uint64_t signals_ = 0;
};

}  // namespace remora::vfio_user
