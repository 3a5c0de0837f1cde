// SPDX-License-Identifier: Apache-2.0
// FrontEnd: one connection to a virtio-blk device, and what it has of the device's queues.
//
// A device may have two: the end of a front end's old connection may be seen after its new one, and
// a guest that migrates to another QEMU of this machine is with both for a while. Only one has
// queues running at a time, so no two requests of one guest run by two ways. What the other starts
// is held until the first has none:
//
//   Idle ──start──► Held ──queues free──► Running ──stop, drained──► Idle
//                     └──gone───────────► Leaving ──run()──────────► Idle
//
// Owned by its controller; on the controller's reactor.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "reactor/io.h"
#include "reactor/reactor.h"
#include "virtio/vhost_user/session.h"

namespace remora::frontends::vhost_user_blk {

class FrontEnd;

/// The device, as its front ends see it.
class FrontEndOwner {
  public:
    [[nodiscard]] virtual std::uint64_t features() const = 0;
    [[nodiscard]] virtual std::uint64_t possible_features() const = 0;
    [[nodiscard]] virtual std::uint16_t queue_count() const = 0;
    virtual void read_config(std::span<std::byte> config) const = 0;
    /// The queues are the front end's until it releases them; false: another one has them, and
    /// start_held() is called when that one has none.
    virtual bool claim_queues(FrontEnd& front_end) = 0;
    /// Nothing, if another one has them.
    virtual void release_queues(FrontEnd& front_end) = 0;
    // Of one that has the queues; see Lane.
    virtual void start_queue(std::uint16_t index, const virtio::vhost_user::QueueSetup& setup) = 0;
    virtual void stop_queue(std::uint16_t index, bool publish) = 0;
    virtual void update_queue(std::uint16_t index, const virtio::vhost_user::QueueParts& parts) = 0;
    /// It may be destroyed from within this call.
    virtual void on_front_end_ended(FrontEnd& front_end) = 0;

  protected:
    ~FrontEndOwner() = default;
};

class FrontEnd final : private virtio::vhost_user::SessionDevice, private reactor::Runnable {
  public:
    FrontEnd(reactor::Reactor& reactor,
             std::unique_ptr<reactor::Stream> stream,
             FrontEndOwner& owner,
             const std::string& name);
    FrontEnd(const FrontEnd&) = delete;
    FrontEnd& operator=(const FrontEnd&) = delete;
    ~FrontEnd();

    /// Starts what was held.
    void start_held();
    // Of a queue that is its own.
    void on_queue_drained(std::uint16_t index, std::uint32_t base);
    void on_queue_broken(std::uint16_t index, const std::string& reason);
    void on_queue_updated() { session_.on_queue_updated(); }

    void shut_down() { session_.shut_down(); }
    void on_config_changed() { session_.on_config_changed(); }
    [[nodiscard]] bool live() const { return session_.live(); }
    /// Queues that run for it.
    [[nodiscard]] std::size_t running() const { return running_; }

  private:
    /// What it has of one queue.
    struct Place {
        enum class State { Idle, Held, Running, Leaving };
        State state = State::Idle;
        bool stop_wanted = false;  // while Held: is stopped as soon as it runs
        virtio::vhost_user::QueueSetup setup;
    };

    [[nodiscard]] std::uint64_t features() const override { return owner_.features(); }
    [[nodiscard]] std::uint64_t possible_features() const override {
        return owner_.possible_features();
    }
    [[nodiscard]] std::uint16_t queue_count() const override {
        return static_cast<std::uint16_t>(places_.size());
    }
    void read_config(std::span<std::byte> config) const override { owner_.read_config(config); }
    void start_queue(std::uint16_t index, const virtio::vhost_user::QueueSetup& setup) override;
    void stop_queue(std::uint16_t index, bool publish) override;
    bool update_queue(std::uint16_t index, const virtio::vhost_user::QueueParts& parts) override;
    void on_session_ended() override { owner_.on_front_end_ended(*this); }
    void run() override;

    void start(std::uint16_t index);

    reactor::Reactor& reactor_;
    FrontEndOwner& owner_;
    std::vector<Place> places_;  // by queue
    std::size_t running_ = 0;
    virtio::vhost_user::Session session_;
};

}  // namespace remora::frontends::vhost_user_blk
