// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/support/fake_io.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "tests/fuzz/support/fake_objects.h"

namespace remora::fuzz {

FakeIo::FakeIo() = default;
FakeIo::~FakeIo() = default;

Handle FakeIo::add(Object object) {
    const Handle handle = next_handle_++;
    handles_.emplace(handle, std::move(object));
    return handle;
}

const FakeIo::Object& FakeIo::at(Handle handle) const {
    const auto found = handles_.find(handle);
    CHECK(found != handles_.end());
    return found->second;
}

void FakeIo::close(Handle handle) {
    const Object object = at(handle);
    handles_.erase(handle);
    if (object.end != nullptr && object.end->stream == nullptr && object.end.use_count() == 1) {
        const detail::FakeStream last(*this, object.end);  // its end is the stream's end
    }
}

core::Result<std::unique_ptr<reactor::Acceptor>> FakeIo::listen(const Endpoint& at,
                                                                reactor::AcceptHandler& handler) {
    Endpoint local = at;
    if (local.family == Endpoint::Family::Tcp && local.port == 0) {
        local.port = next_port_++;
    }
    if (!listeners_.emplace(local, &handler).second) {
        return core::fail(ErrorKind::FailedPrecondition, "somebody listens there");
    }
    return std::make_unique<detail::FakeAcceptor>(*this, local);
}

std::unique_ptr<reactor::Connecting> FakeIo::connect(const Endpoint& to,
                                                     reactor::ConnectHandler& handler) {
    return std::make_unique<detail::FakeConnecting>(*this, to, handler);
}

std::unique_ptr<reactor::Stream> FakeIo::connect_pair(Handle& other) {
    auto ours = std::make_shared<detail::End>();
    auto theirs = std::make_shared<detail::End>();
    ours->peer = theirs;
    theirs->peer = ours;
    other = add(Object{.end = theirs, .counter = nullptr, .memory = nullptr});
    return std::make_unique<detail::FakeStream>(*this, std::move(ours));
}

std::unique_ptr<reactor::Stream> FakeIo::dial(const Endpoint& to) {
    if (!listeners_.contains(to)) {
        return nullptr;
    }
    Handle accepted = reactor::kNoHandle;
    auto stream = connect_pair(accepted);
    dialled_.push_back({to, accepted});
    return stream;
}

core::Result<std::unique_ptr<reactor::Stream>> FakeIo::adopt_stream(Handle connection) {
    const Object object = at(connection);
    if (object.end == nullptr || object.end->stream != nullptr) {
        close(connection);
        return core::fail(ErrorKind::InvalidArgument, "adopt stream: not a socket");
    }
    handles_.erase(connection);
    return std::make_unique<detail::FakeStream>(*this, object.end);
}

core::Result<std::unique_ptr<reactor::File>> FakeIo::open_file(const std::string& /*path*/,
                                                               const reactor::FileOptions&) {
    return core::fail(ErrorKind::Unimplemented, "there are no files here");
}

core::Result<std::shared_ptr<reactor::EventSource>> FakeIo::take_event(Handle handle) {
    const Object object = at(handle);
    handles_.erase(handle);
    if (object.counter == nullptr) {
        return core::fail(ErrorKind::InvalidArgument, "adopt event: not an eventfd");
    }
    return std::make_shared<detail::FakeEventSource>(object.counter);
}

std::unique_ptr<reactor::Event> FakeIo::open_event(std::shared_ptr<reactor::EventSource> source) {
    return std::make_unique<detail::FakeEvent>(
        *this, static_cast<const detail::FakeEventSource&>(*source).counter);
}

core::Result<std::unique_ptr<reactor::Mapping>> FakeIo::map(Handle handle,
                                                            std::uint64_t offset,
                                                            std::uint64_t size) {
    const Object& object = at(handle);
    if (object.memory == nullptr || size == 0 || offset > object.memory->size ||
        size > object.memory->size - offset) {
        return core::fail(ErrorKind::InvalidArgument, "map shared memory: it is smaller");
    }
    return std::make_unique<FakeMapping>(*this, object.memory, static_cast<std::size_t>(offset),
                                         static_cast<std::size_t>(size));
}

core::Result<Handle> FakeIo::create_shared_memory(std::uint64_t size) {
    constexpr std::uint64_t kMost = std::uint64_t{16} << 20U;
    if (size == 0 || size > kMost) {
        return core::fail(ErrorKind::ResourceExhausted, "no memory");
    }
    return add(Object{.end = nullptr,
                      .counter = nullptr,
                      .memory = std::make_shared<detail::Memory>(static_cast<std::size_t>(size))});
}

Handle FakeIo::create_event() {
    return add(
        Object{.end = nullptr, .counter = std::make_shared<detail::Counter>(), .memory = nullptr});
}

Handle FakeIo::create_socket() {
    Handle handle = reactor::kNoHandle;
    connect_pair(handle).reset();
    return handle;
}

void FakeIo::signal(Handle event) {
    const Object& object = at(event);
    if (object.counter != nullptr) {
        ++object.counter->value;
    }
}

std::uint64_t FakeIo::count(Handle event) const {
    const Object& object = at(event);
    return object.counter == nullptr ? 0 : object.counter->value;
}

std::span<std::byte> FakeIo::memory(Handle handle) const {
    const Object& object = at(handle);
    return object.memory == nullptr ? std::span<std::byte>{}
                                    : std::span(object.memory->data, object.memory->size);
}

void FakeIo::poison(Handle memory) {
    if (const Object& object = at(memory); object.memory != nullptr) {
        object.memory->poisoned = true;
        std::memset(object.memory->data, 0, object.memory->size);
    }
}

void FakeIo::break_stream(reactor::Stream& stream) {
    static_cast<detail::FakeStream&>(stream).break_peer();
}

bool FakeIo::busy() const {
    bool busy = !dialled_.empty() || !connecting_.empty();
    for (const auto& [id, stream] : streams_) {
        busy = busy || stream->busy();
    }
    for (const auto& [id, event] : events_) {
        busy = busy || event->busy();
    }
    return busy;
}

bool FakeIo::wait(Nanos /*timeout*/) {
    CHECK(false);  // the world turns the reactor itself
    return true;
}

bool FakeIo::poll() {
    bool worked = poll_accepts();
    worked |= poll_connects();
    worked |= poll_streams();
    worked |= poll_events();
    return worked;
}

bool FakeIo::poll_accepts() {
    const bool worked = !dialled_.empty();
    for (std::size_t left = dialled_.size(); left > 0; --left) {
        const Dialled dialled = dialled_.front();
        dialled_.pop_front();
        if (const auto found = listeners_.find(dialled.to); found != listeners_.end()) {
            found->second->on_accept(dialled.connection);
        } else {
            close(dialled.connection);
        }
    }
    return worked;
}

namespace {

/// Calls `step` of each object that is there now and still there when it is its turn.
template <typename Objects, typename Step>
bool step_all(Objects& objects, Step step) {
    std::vector<std::uint64_t> ids;
    ids.reserve(objects.size());
    for (const auto& [id, object] : objects) {
        ids.push_back(id);
    }
    bool worked = false;
    for (const std::uint64_t id : ids) {
        if (const auto found = objects.find(id); found != objects.end()) {
            worked |= step(*found->second);
        }
    }
    return worked;
}

}  // namespace

bool FakeIo::poll_connects() {
    return step_all(connecting_, [](detail::FakeConnecting& connecting) {
        connecting.step();
        return true;
    });
}

bool FakeIo::poll_streams() {
    return step_all(streams_, [](detail::FakeStream& stream) { return stream.step(); });
}

bool FakeIo::poll_events() {
    return step_all(events_, [](detail::FakeEvent& event) { return event.step(); });
}

}  // namespace remora::fuzz
