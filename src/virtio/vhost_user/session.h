// SPDX-License-Identifier: Apache-2.0
// Session: one front end's connection and everything it set up: features, memory, vrings, in-flight
// region. It drives a SessionDevice, which runs the queues. On the device's reactor throughout.
//
//   Open ──► Stopping ──► Closed ──► ended (the device may destroy it)
//     └────── lost, broken ──┘
//
// A ring runs while it has a size, addresses inside the memory, a kick (or none by agreement) and
// is enabled. A message that changes what a running queue stands on (memory, features, ring
// parameters) waits until the queue has drained; later messages wait behind it. After the
// connection is gone the memory stays mapped until the last request came back from the back end.
// More memory, another interrupt and logging of what is written for a migration come while queues
// run; such a message is answered when all go by it.
//
// A message that cannot be right closes the session. One that cannot be done now is answered with
// an error where the front end asked for an answer (REPLY_ACK), and closes the session otherwise.
// Spec: QEMU docs/interop/vhost-user.rst.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "reactor/io.h"
#include "reactor/reactor.h"
#include "virtio/ring_layout.h"
#include "virtio/vhost_user/backend_channel.h"
#include "virtio/vhost_user/connection.h"
#include "virtio/vhost_user/dirty_log.h"
#include "virtio/vhost_user/inflight.h"
#include "virtio/vhost_user/memory_table.h"
#include "virtio/vhost_user/queue_setup.h"

namespace remora::virtio::vhost_user {

/// The device behind a session: a front end of the node. Never called from within its own calls.
/// Its queues may be on other reactors: what they are told happens a little later.
class SessionDevice {
  public:
    /// All feature bits on offer, without VhostUserProtocol.
    [[nodiscard]] virtual std::uint64_t features() const = 0;
    /// All it may ever have on offer. A guest keeps what it negotiated, however the volume has
    /// changed since; what a volume cannot do is refused request by request.
    [[nodiscard]] virtual std::uint64_t possible_features() const = 0;
    [[nodiscard]] virtual std::uint16_t queue_count() const = 0;
    /// Fills the configuration space; `config` is kMaxConfigBytes zeros.
    virtual void read_config(std::span<std::byte> config) const = 0;
    /// A queue that cannot start says so by Session::fail_soon, and is stopped as one that runs.
    virtual void start_queue(std::uint16_t index, const QueueSetup& setup) = 0;
    /// Takes no more work, waits for what runs, then calls Session::on_queue_stopped (never from
    /// within). With `publish` false what completes is not given to the driver. May be called
    /// again with `publish` false while the queue drains.
    virtual void stop_queue(std::uint16_t index, bool publish) = 0;
    /// Of a queue that was started and not stopped. Whether it goes by `parts` from now on; if not,
    /// Session::on_queue_updated follows when it does.
    virtual bool update_queue(std::uint16_t index, const QueueParts& parts) = 0;
    /// The session is over and holds nothing; it may be destroyed from within this call.
    virtual void on_session_ended() = 0;

  protected:
    ~SessionDevice() = default;
};

class Session final : private ConnectionHandler,
                      private reactor::Runnable,
                      private reactor::TimerHandler {
  public:
    Session(reactor::Reactor& reactor,
            std::unique_ptr<reactor::Stream> stream,
            SessionDevice& device,
            std::string name);
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    ~Session();

    /// The queue has drained; `base` is where it stopped.
    void on_queue_stopped(std::uint16_t index, std::uint32_t base);
    /// The queue goes by what the last update_queue said.
    void on_queue_updated();
    /// Ends the session from the run queue: what a queue that found its ring broken calls.
    void fail_soon(std::string reason);
    /// Lets every queue give back what it took, then closes.
    void shut_down();
    /// The device's configuration space changed.
    void on_config_changed() { channel_.send_config_change(); }

    /// A front end is connected and has not hung up.
    [[nodiscard]] bool live() const { return state_ == State::Open && !connection_.hung_up(); }
    [[nodiscard]] std::uint32_t running_queues() const;
    [[nodiscard]] std::uint64_t negotiated_features() const { return features_; }

  private:
    enum class State {
        Open,      ///< Messages are handled.
        Stopping,  ///< shut_down() was called: queues drain, no message is handled.
        Closed,    ///< The connection is gone: queues drain, then the session ends.
    };

    /// A vring as the front end described it.
    struct Vring {
        std::uint16_t size = 0;
        std::optional<std::uint32_t> base;  ///< Nothing: a ring that begins.
        std::optional<VringAddress> addresses;
        std::shared_ptr<reactor::EventSource> kick;
        std::shared_ptr<reactor::EventSource> call;
        std::unique_ptr<reactor::Event> err;
        bool started = false;  ///< A kick message came and no GetVringBase since.
        bool enabled = false;
        bool running = false;   ///< The device has it.
        bool stopping = false;  ///< The device was told to stop it.
    };

    /// How a message went.
    struct Outcome {
        enum class Kind {
            Done,     ///< Acknowledge if asked to.
            Replied,  ///< The message's own reply is sent.
            Echo,     ///< Done, and its reply is itself without a payload.
            Wait,     ///< Handle it again when the queues have drained.
            Refused,  ///< Cannot be done: see the class comment.
            Fatal,    ///< No front end says this: close.
        };
        Kind kind = Kind::Done;
        std::string reason;
    };
    static Outcome done() { return {}; }
    static Outcome wait() { return {Outcome::Kind::Wait, {}}; }
    static Outcome refused(std::string reason) {
        return {Outcome::Kind::Refused, std::move(reason)};
    }
    static Outcome fatal(std::string reason) { return {Outcome::Kind::Fatal, std::move(reason)}; }
    static Outcome from(const core::Result<void>& result) {
        return result ? done() : refused(result.error().message);
    }

    bool on_message(Message& message) override;
    void on_connection_lost(std::string reason) override;
    void run() override;
    void on_timer(reactor::Timer& timer) override;

    bool deal_with(Message& message);
    void go_on();
    Outcome handle(Message& message);
    Outcome handle_vring(Message& message);
    Outcome handle_memory(Message& message);
    Outcome handle_inflight(Message& message);
    Outcome get_features();
    Outcome set_features(const Message& message);
    Outcome set_protocol_features(const Message& message);
    Outcome get_config(const Message& message);
    Outcome set_vring_num(const Message& message);
    Outcome set_vring_addr(const Message& message);
    Outcome set_vring_base(const Message& message);
    Outcome get_vring_base(const Message& message);
    Outcome set_vring_event(Message& message);
    Outcome set_vring_enable(const Message& message);
    Outcome set_mem_table(const Message& message);
    Outcome add_mem_reg(const Message& message);
    Outcome rem_mem_reg(const Message& message);
    Outcome get_inflight_fd(const Message& message);
    Outcome set_inflight_fd(const Message& message);
    Outcome handle_log(const Message& message);
    Outcome set_log_base(const Message& message);
    Outcome reset(bool forget_features);

    Outcome reply_u64(RequestType type, std::uint64_t value);
    Outcome reply(RequestType type,
                  std::span<const std::byte> payload,
                  reactor::Handle handle = reactor::kNoHandle);
    bool settle(const Message& message, const Outcome& outcome);

    /// Whether queue `index` is not running; tells it to stop if it is.
    bool quiesce(std::size_t index);
    bool quiesce_all();
    core::Result<void> start_if_ready(std::size_t index);
    /// Starts what can run. Errors: the first queue's that cannot; the others are started.
    core::Result<void> start_all();
    /// The queue a vring message is about; null when there is none such.
    Vring* find_vring(std::uint64_t index);
    /// What a queue goes by as things stand, and telling it to those that run.
    [[nodiscard]] QueueLog log_of(const Vring& vring) const;
    [[nodiscard]] QueueParts parts_of(const Vring& vring) const;
    void update_queue(std::size_t index);
    void update_queues();
    [[nodiscard]] bool packed() const { return has(features_, Feature::RingPacked); }
    [[nodiscard]] std::uint32_t base_of(const Vring& vring) const;
    [[nodiscard]] core::Result<RingMemory> resolve(const Vring& vring) const;
    [[nodiscard]] bool any_stopping() const;
    void close(const std::string& reason);
    void end_if_drained();

    /// How long after one message of a memory change the next may come.
    static constexpr reactor::Nanos kMemoryChange{5'000'000};

    reactor::Reactor& reactor_;
    SessionDevice& device_;
    std::string name_;  // of the device, for logs
    Connection connection_;
    BackendChannel channel_;
    State state_ = State::Open;
    std::uint64_t features_ = 0;
    std::uint64_t protocol_features_ = 0;
    MemoryTable memory_;
    std::optional<InflightRegion> inflight_;
    std::shared_ptr<const DirtyLog> log_;
    std::vector<Vring> vrings_;
    std::size_t updating_ = 0;  // queues that were told and have not said that they go by it
    bool message_waits_ = false;
    reactor::Timer memory_change_{*this};  // queues rest until then
    std::optional<Outcome> outcome_;       // of the message that waits for queues to be updated
    std::optional<std::string> failure_;   // fail_soon() was called
};

}  // namespace remora::virtio::vhost_user
