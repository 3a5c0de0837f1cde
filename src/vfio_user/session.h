// SPDX-License-Identifier: Apache-2.0
// Session: one client's connection and everything it set up: memory for DMA, event counters for
// interrupts. It drives a SessionDevice, which is the PCI function. On the device's reactor
// throughout.
//
//   Greeting ──version──► Open ──► Stopping ──► Closed ──► ended (the device may destroy it)
//       └──────── lost, broken ─────────┘
//
// A message that takes memory away, or resets the function, is answered when no request uses the
// memory any more; later messages wait behind it. After the connection is gone the memory stays
// mapped until the last request came back from the back end.
//
// A message that cannot be done is answered with an errno. One that breaks the framing, or that
// comes before the version is agreed on, closes the session.
// Spec: QEMU docs/interop/vfio-user.rst.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>

#include "reactor/io.h"
#include "reactor/reactor.h"
#include "vfio_user/connection.h"
#include "vfio_user/dma_map.h"
#include "vfio_user/irq.h"
#include "vfio_user/migration.h"
#include "vfio_user/region.h"
#include "vfio_user/session_state.h"

namespace remora::vfio_user {

/// The device behind a session: a front end of the node. Never called from within its own calls.
class SessionDevice : public MigratingDevice {
  public:
    /// Of kRegionCount; stays as it is for the life of the session.
    [[nodiscard]] virtual const Region& region(std::uint32_t index) const = 0;
    /// The bytes are inside the region, and at most kMaxTransferBytes. False: refused.
    virtual bool read_region(std::uint32_t index,
                             std::uint64_t offset,
                             std::span<std::byte> to) = 0;
    virtual bool write_region(std::uint32_t index,
                              std::uint64_t offset,
                              std::span<const std::byte> from) = 0;
    /// The client gave or took memory: an address may mean another place, or none.
    virtual void on_memory_changed() = 0;
    /// Whether no request uses these bytes, which no address leads to any more. If not,
    /// Session::on_memory_idle() is called once none does.
    virtual bool is_memory_idle(std::span<const std::byte> bytes) = 0;
    /// Resets the function. Whether that is done; if not, Session::on_reset_done() follows.
    virtual bool reset_function() = 0;
    /// The client is about to change interrupts: their levels are to be as things are now.
    virtual void refresh_interrupts() = 0;
    /// Takes no more work and lets requests end; with `publish` false nobody is told of them, and
    /// the guest's memory is not written any more but by what is under way. May be called again
    /// with `publish` false. Whether all have ended; if not, Session::on_stopped() follows.
    virtual bool stop(bool publish) = 0;
    /// The session is over and holds nothing; it may be destroyed from within this call.
    virtual void on_session_ended() = 0;

  protected:
    ~SessionDevice() = default;
};

class Session final : private ConnectionHandler, private LevelSource, private reactor::Runnable {
  public:
    Session(reactor::Reactor& reactor,
            std::unique_ptr<reactor::Stream> stream,
            SessionDevice& device,
            const IrqCounts& irqs,
            std::string name);
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    ~Session();

    // Answers to what SessionDevice said it would do later; never from within its calls.
    void on_memory_idle();
    void on_reset_done();
    void on_halted();
    void on_stopped();

    /// Ends the session from the run queue.
    void fail_soon(std::string reason);
    /// Lets the device give back what it took, then closes.
    void shut_down();

    /// The version is agreed on, and no message is under way.
    [[nodiscard]] bool can_freeze() const {
        return state_ == State::Open && waiting_ == Waiting::No && !failing_ &&
               connection_.quiet() && !memory_.retiring() &&
               migration_.state() == DeviceState::Running;
    }
    /// What another session needs to go on with this one's client. This one reads nothing more.
    SessionState freeze();
    /// Goes on with the client of a frozen session, before anything was read. Takes the handles.
    /// The error is an errno: then the session is to be closed.
    std::expected<void, int> restore(const SessionState& from);

    [[nodiscard]] const DmaMap& memory() const { return memory_; }
    [[nodiscard]] IrqTable& irqs() { return irqs_; }
    /// It has agreed on a version: before, a client has nothing here.
    [[nodiscard]] bool greeted() const { return state_ != State::Greeting; }
    /// A client is connected and has not hung up.
    [[nodiscard]] bool live() const {
        return (state_ == State::Open || state_ == State::Greeting) && !connection_.hung_up();
    }

  private:
    enum class State {
        Greeting,  ///< Nothing but a version is taken.
        Open,      ///< Messages are handled.
        Stopping,  ///< shut_down() was called: requests end, no message is handled.
        Closed,    ///< The connection is gone: requests end, then the session does.
    };
    /// What the message that is held back waits for.
    enum class Waiting { No, Unmap, UnmapAll, Reset, Halt };

    /// How a message went.
    struct Outcome {
        enum class Kind {
            Done,     ///< Answer with `bytes` of Connection::reply_payload().
            Wait,     ///< It is dealt with later.
            Refused,  ///< Answer with the errno.
            Fatal,    ///< No client says this: close.
        };
        Kind kind = Kind::Done;
        std::size_t bytes = 0;
        reactor::Handle handle = reactor::kNoHandle;  // borrowed
        int error = 0;
        const char* reason = "";
    };
    static Outcome done(std::size_t bytes = 0) { return {.bytes = bytes}; }
    static Outcome refused(int error) { return {.kind = Outcome::Kind::Refused, .error = error}; }
    static Outcome fatal(const char* reason) {
        return {.kind = Outcome::Kind::Fatal, .reason = reason};
    }
    template <typename T>
    Outcome answer(const T& payload) {
        std::memcpy(connection_.reply_payload().data(), &payload, sizeof(payload));
        return done(sizeof(payload));
    }

    bool on_message(Message& message) override;
    void on_connection_lost(std::string reason) override;
    void refresh_level() override { device_.refresh_interrupts(); }
    void run() override;

    Outcome handle(Message& message);
    Outcome version(const Message& message);
    Outcome dma_map(Message& message);
    Outcome dma_unmap(const Message& message);
    Outcome unmap_all();
    /// The request that is held back, repeated.
    Outcome answer_unmap();
    Outcome device_info(const Message& message);
    Outcome region_info(const Message& message);
    Outcome irq_info(const Message& message);
    Outcome set_irqs(Message& message);
    Outcome region_read(const Message& message);
    Outcome region_write(const Message& message);
    Outcome write_multi(const Message& message);
    Outcome reset(const Message& message);
    // session_migration.cc
    Outcome feature(const Message& message);
    Outcome change_state(const DeviceFeature& request, std::span<const std::byte> data);
    /// The request of `message`, with `data` behind it.
    template <typename T>
    Outcome answer_feature(DeviceFeature request, const T& data);
    Outcome read_state(const Message& message);
    Outcome write_state(const Message& message);
    /// Hides an entry; Wait when requests use its memory.
    Outcome take_memory(std::uint64_t address, std::uint64_t size, Waiting how);
    /// 0, or the errno to refuse it with.
    [[nodiscard]] int check_access(const RegionAccess& access, std::uint32_t flag) const;

    bool settle(const Message& message, const Outcome& outcome);
    void reply(const Header& to, const Outcome& outcome);
    /// The message that was held back is dealt with, like this.
    void resume(const Outcome& outcome);
    void close(const std::string& reason);
    void end_soon();

    reactor::Reactor& reactor_;
    SessionDevice& device_;
    std::string name_;  // of the device, for logs
    DmaMap memory_;
    IrqTable irqs_;
    Migration migration_;
    Connection connection_;
    State state_ = State::Greeting;
    Waiting waiting_ = Waiting::No;
    bool idle_ = false;  // Closed: the device has nothing more of ours
    std::string failure_;
    bool failing_ = false;  // fail_soon() was called
    std::uint64_t refusals_ = 0;
};

}  // namespace remora::vfio_user
