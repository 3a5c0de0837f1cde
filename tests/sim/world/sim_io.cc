// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/world/sim_io.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "tests/sim/world/shared_memory.h"
#include "tests/sim/world/sim_file.h"
#include "tests/sim/world/sim_socket.h"
#include "tests/sim/world/world.h"

namespace remora::sim {

using core::Result;

/// An eventfd as one process holds it.
struct SimEventSource final : reactor::EventSource {
    SimEventSource(Process& of, std::shared_ptr<EventCounter> counted, Handle at)
        : process(of), counter(std::move(counted)), handle(at) {}
    SimEventSource(const SimEventSource&) = delete;
    SimEventSource& operator=(const SimEventSource&) = delete;
    ~SimEventSource() override { process.handles().remove(handle); }

    Process& process;
    std::shared_ptr<EventCounter> counter;
    Handle handle;
};

/// The same on a reactor.
class SimEvent final : public reactor::Event, public Source {
  public:
    SimEvent(SimIo& io, std::shared_ptr<SimEventSource> source)
        : Source(io), source_(std::move(source)) {}
    ~SimEvent() override { stop_listening(); }

    void signal() override {
        io_.process().step();
        ++source_->counter->count;
        for (SimEvent* listener : source_->counter->listeners) {
            listener->rouse();
        }
    }
    void set_handler(reactor::EventHandler* handler) override {
        stop_listening();
        handler_ = handler;
        if (handler != nullptr) {
            source_->counter->listeners.push_back(this);
            if (source_->counter->count > 0) {
                rouse();
            }
        }
    }
    void dispatch() override {
        if (handler_ != nullptr && source_->counter->count > 0) {
            source_->counter->count = 0;
            handler_->on_event();
        }
    }
    void abandon(bool /*power_lost*/) override { stop_listening(); }

  private:
    void rouse() { has_news(); }
    void stop_listening() { std::erase(source_->counter->listeners, this); }

    std::shared_ptr<SimEventSource> source_;
    reactor::EventHandler* handler_ = nullptr;
};

Source::Source(SimIo& io) : io_(io) {
    io.all_.push_back(*this);
}

Source::~Source() {
    io_.forget(*this);
}

void Source::has_news() {
    io_.mark_ready(*this);
}

SimIo::SimIo(Process& process, Core& core, core::Prng prng)
    : process_(process), core_(core), prng_(prng) {}

SimIo::~SimIo() = default;

World& SimIo::world() {
    return process_.world();
}

void SimIo::mark_ready(Source& source) {
    if (!source.ready_ && process_.alive()) {
        source.ready_ = true;
        ready_.push_back(&source);
        world().wake(core_);
    }
}

void SimIo::forget(Source& source) {
    if (source.ready_) {
        std::erase(ready_, &source);
    }
    source.core::ListHook<Source>::unlink();
}

bool SimIo::poll() {
    // What becomes ready meanwhile is for the next poll. Any order is allowed.
    std::size_t left = ready_.size();
    const bool any = left > 0;
    while (left > 0 && !ready_.empty()) {
        const std::size_t bound = std::min(left, ready_.size());
        const std::size_t pick = prng_.below(bound);
        Source* source = ready_[pick];
        ready_.erase(ready_.begin() + static_cast<std::ptrdiff_t>(pick));
        source->ready_ = false;
        --left;
        source->dispatch();
    }
    return any;
}

bool SimIo::wait(core::Nanos /*timeout*/) {
    CHECK(false);  // the world owns the loop
    return true;
}

void SimIo::wake() {
    world().wake(core_);
}

void SimIo::abandon(bool power_lost) {
    all_.for_each([power_lost](Source& source) { source.abandon(power_lost); });
    ready_.clear();
}

Result<std::unique_ptr<reactor::Acceptor>> SimIo::listen(const reactor::Endpoint& at,
                                                         reactor::AcceptHandler& handler) {
    process_.step();
    return make_sim_acceptor(*this, at, handler);
}

std::unique_ptr<reactor::Connecting> SimIo::connect(const reactor::Endpoint& to,
                                                    reactor::ConnectHandler& handler) {
    process_.step();
    return make_sim_connecting(*this, to, handler);
}

Result<std::unique_ptr<reactor::Stream>> SimIo::adopt_stream(Handle connection) {
    process_.step();
    const auto end = std::dynamic_pointer_cast<SocketEnd>(process_.handles().find(connection));
    auto taken = end == nullptr ? nullptr : end->take();
    if (taken == nullptr) {
        process_.handles().remove(connection);
        return core::fail_errno("adopt stream", ENOTSOCK);
    }
    return make_sim_stream(*this, std::move(taken), end->side(), connection);
}

Result<std::unique_ptr<reactor::File>> SimIo::open_file(const std::string& path,
                                                        const reactor::FileOptions& options) {
    process_.step();
    return open_sim_file(*this, path, options);
}

Result<std::shared_ptr<reactor::EventSource>> SimIo::take_event(Handle handle) {
    process_.step();
    auto counter = std::dynamic_pointer_cast<EventCounter>(process_.handles().find(handle));
    if (counter == nullptr) {
        process_.handles().remove(handle);
        return core::fail(core::ErrorKind::InvalidArgument, "adopt event: not an eventfd");
    }
    return std::make_shared<SimEventSource>(process_, std::move(counter), handle);
}

std::unique_ptr<reactor::Event> SimIo::open_event(std::shared_ptr<reactor::EventSource> source) {
    return std::make_unique<SimEvent>(*this,
                                      std::static_pointer_cast<SimEventSource>(std::move(source)));
}

Result<std::unique_ptr<reactor::Mapping>> SimIo::map(Handle handle,
                                                     std::uint64_t offset,
                                                     std::uint64_t size) {
    process_.step();
    auto memory = std::dynamic_pointer_cast<SharedMemory>(process_.handles().find(handle));
    if (memory == nullptr) {
        return core::fail_errno("map", ENODEV);
    }
    if (size == 0 || size > memory->valid() || offset > memory->valid() - size) {
        return core::fail(core::ErrorKind::InvalidArgument,
                          "map: the memory is smaller than what is to be mapped");
    }
    return std::make_unique<SimMapping>(std::move(memory), offset, size);
}

Result<Handle> SimIo::create_shared_memory(std::uint64_t size) {
    process_.step();
    return process_.handles().add(std::make_shared<SharedMemory>(size));
}

void SimIo::close(Handle handle) {
    process_.step();
    CHECK(process_.handles().remove(handle));  // a handle closed twice is somebody else's
}

}  // namespace remora::sim
