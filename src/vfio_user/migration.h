// SPDX-License-Identifier: Apache-2.0
// Migration: the states by which a client moves a function to another server, and the stream of
// bytes that is the function's state. Owned by a session, on its reactor.
//
//   source        Running ──► Stop ──► StopCopy: the client reads the stream ──► Stop
//   destination   Running ──► Stop ──► Resuming: the client writes it ──► Stop ──► Running
//
// A change between any two goes by way of Stop. It is done when it is answered: Running is left
// when no request is under way any more.
// Spec: vfio-user, VFIO_USER_DEVICE_FEATURE, VFIO_USER_MIG_DATA_READ, VFIO_USER_MIG_DATA_WRITE;
// <linux/vfio.h>, enum vfio_device_mig_state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <vector>

#include "core/result.h"
#include "vfio_user/message.h"

namespace remora::vfio_user {

/// The device that is moved; never called from within its own calls.
class MigratingDevice {
  public:
    /// Takes no more work. Whether none is under way; if not, Session::on_halted() follows.
    virtual bool halt() = 0;
    /// After halt(): takes work again.
    virtual void go_on() = 0;
    // Halted, and with nothing under way:
    /// All that another function needs to go on as this one. Errors: Unavailable, when the guest
    /// has to take something first.
    virtual core::Result<std::vector<std::byte>> save() = 0;
    /// Goes on as the function that was saved, with the client's memory that is there; it is
    /// halted. Hostile bytes. After an error it is as after a reset, and halted.
    virtual core::Result<void> load(std::span<const std::byte> state) = 0;

  protected:
    ~MigratingDevice() = default;
};

class Migration {
  public:
    /// More than any function's state.
    static constexpr std::size_t kMaxStateBytes = std::size_t{64} << 10U;

    explicit Migration(MigratingDevice& device) : device_(device) {}

    [[nodiscard]] DeviceState state() const { return state_; }

    enum class Progress : std::uint8_t {
        Done,
        Halting,  ///< The device was told to halt; go on with finish() when it has.
    };
    /// Begins a change of state. The error is an errno, and nothing has changed (or the state is
    /// Error now).
    std::expected<Progress, int> change(std::uint32_t to);
    /// The device has halted: the rest of the change.
    std::expected<void, int> finish();
    /// The function was reset.
    void reset();

    /// The next bytes of the state; less than asked for at its end. The error is an errno.
    std::expected<std::span<const std::byte>, int> read(std::size_t bytes);
    std::expected<void, int> write(std::span<const std::byte> bytes);

  private:
    std::expected<void, int> enter(DeviceState to);

    MigratingDevice& device_;
    DeviceState state_ = DeviceState::Running;
    DeviceState wanted_ = DeviceState::Running;
    std::vector<std::byte> data_;  // that is read in StopCopy, and was written in Resuming
    std::size_t read_ = 0;
};

}  // namespace remora::vfio_user
