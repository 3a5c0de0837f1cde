// SPDX-License-Identifier: Apache-2.0
// block::Device and block::Channel: the waist. Back ends and services implement them, front ends
// and services use them, and neither knows the other.
//
// Device: a named volume; made, opened and stopped by the composition root on the control reactor.
// Channel: the device's handle of one reactor. All I/O of a reactor goes through it, lock free.
//
// Contract of submit(batch):
//  - takes the whole batch; each request's top frame says where it is completed;
//  - completes each exactly once, later in this turn or in a following one, never before submit()
//    has returned, so nobody is re-entered;
//  - has checked nothing: the front end has called validate() below.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "block/request.h"
#include "core/histogram.h"
#include "core/result.h"
#include "core/uuid.h"
#include "reactor/task.h"

namespace remora::block {

struct Geometry {
    std::uint32_t block_size = 512;  ///< Bytes; a power of two from 512 to 4096.
    std::uint64_t block_count = 0;
    std::uint32_t optimal_blocks = 1;       ///< Preferred multiple for length and alignment.
    std::uint32_t max_transfer_blocks = 0;  ///< Largest read or write worth submitting; 0 = any.
    bool can_discard = false;
    bool can_write_zeroes = false;
    /// What was never written, was discarded or came by growing reads as zeros; else as noise.
    bool unwritten_reads_zeros = true;
    bool volatile_cache = false;  ///< Flush means something.
    bool read_only = false;

    [[nodiscard]] std::uint64_t size_bytes() const { return block_count * block_size; }
    bool operator==(const Geometry&) const = default;
};

/// Whether a device can have this shape: a block size that is a power of two in 512..4096, at least
/// one block, at most 2^63 bytes. Errors: InvalidArgument with what would be right.
core::Result<void> check_geometry(const Geometry& geometry);

/// Counters of one channel. Plain: read and summed on the channel's reactor.
struct IoCounters {
    std::uint64_t ops = 0;
    std::uint64_t bytes = 0;
    std::uint64_t errors = 0;
    std::uint64_t latency_ns = 0;  ///< Sum over ops.
};
struct DeviceStats {
    IoCounters read;
    IoCounters write;
    IoCounters flush;
    IoCounters unmap;  ///< Discard and write-zeroes.
    /// What requests were held back for by limits of rate, in all; part of their latency.
    std::uint64_t throttled_ns = 0;
    core::CoarseHistogram read_latency;   ///< Nanoseconds.
    core::CoarseHistogram write_latency;  ///< Nanoseconds.
    void add(const DeviceStats& other);
    /// A request has ended. Called for every one.
    void count(Opcode opcode, std::uint64_t moved_bytes, Status status, std::uint64_t took_ns);
};

class Channel {
  public:
    virtual ~Channel() = default;
    /// One verb down. Takes all of `batch`.
    virtual void submit(RequestBatch& batch) = 0;
};

/// Told on the reactor that registered it.
class DeviceListener {
  public:
    /// The device's geometry changed (it grew or shrank).
    virtual void on_geometry_changed() = 0;

  protected:
    ~DeviceListener() = default;
};

class Device {
  public:
    Device(std::string name, core::Uuid uuid) : name_(std::move(name)), uuid_(uuid) {}
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;
    virtual ~Device() = default;

    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] const core::Uuid& uuid() const { return uuid_; }
    [[nodiscard]] virtual Geometry geometry() const = 0;

    /// The handle of the current reactor. Called on that reactor; the channel is destroyed there,
    /// with nothing in flight, before the device stops. Errors: ResourceExhausted.
    virtual core::Result<std::unique_ptr<Channel>> open_channel() = 0;

    /// Makes it larger; its content stays, what is new is unwritten. On the control reactor, one
    /// call at a time; may block for the time that a file takes to grow durably. The new size is
    /// there for a reactor once show_growth() has run on it. Errors: FailedPrecondition (it would
    /// shrink, or is not this node's own), InvalidArgument, ResourceExhausted.
    virtual core::Result<void> grow(std::uint64_t /*block_count*/) {
        return core::fail(core::ErrorKind::FailedPrecondition,
                          "volume '" + name_ +
                              "' is not this node's own: it grows where it is "
                              "kept");
    }
    /// The current reactor's channels, listeners and geometry() learn of a grow() that succeeded.
    virtual void show_growth() {}

    /// Who is told of geometry changes, on the current reactor, until it takes itself away there.
    /// Only devices whose geometry can change tell; the others ignore it.
    virtual void add_listener(DeviceListener& /*listener*/) {}
    virtual void remove_listener(DeviceListener& /*listener*/) {}

    /// Ends what the device does in the background. On the control reactor; no channel is open.
    virtual reactor::Task<> stop() { co_return; }

  private:
    std::string name_;
    core::Uuid uuid_;
};

/// Whether `request` fits `geometry`; what front ends and tests call before submit. Ok, OutOfRange,
/// InvalidRequest, ReadOnly or Unsupported.
Status validate(const Request& request, const Geometry& geometry);

}  // namespace remora::block
