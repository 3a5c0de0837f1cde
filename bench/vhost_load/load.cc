// SPDX-License-Identifier: Apache-2.0
#include "bench/vhost_load/load.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <future>
#include <memory>
#include <optional>
#include <poll.h>
#include <unistd.h>
#include <vector>

#include "core/check.h"
#include "core/prng.h"
#include "tests/support/run_on.h"
#include "tests/support/vhost_front_end.h"

namespace remora::bench {

using core::ErrorKind;
using test::BlkSlot;
using test::DriverRing;
using test::GuestRam;
using test::VhostFrontEnd;
using virtio::BlkType;

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kMinQueueSize = 128;
constexpr std::uint32_t kMaxQueueSize = 1024;
constexpr std::uint32_t kDirectDescriptors = 3;  // header, data, status
constexpr std::uint64_t kControlBytes = 128;     // header, status and indirect table of a request
constexpr std::uint64_t kTableOffset = 32;
constexpr auto kStallLimit = std::chrono::seconds(30);

/// One request's place in the guest memory and when it was last sent.
struct Request {
    std::uint16_t head = 0;
    std::uint64_t control = 0;
    std::uint64_t data = 0;
    Clock::time_point sent;
};

class Load final : private reactor::Poller {
  public:
    explicit Load(const LoadOptions& options, std::uint32_t queue_size)
        : options_(options), per_head_(options.indirect ? 1 : kDirectDescriptors) {
        const std::uint64_t request_bytes = kControlBytes + options.bytes;
        const std::uint64_t data = request_bytes * options.depth * options.queues;
        test::FrontEndOptions front;
        front.path = options.path;
        front.queues = static_cast<std::uint16_t>(options.queues);
        front.queue_size = static_cast<std::uint16_t>(queue_size);
        front.event_index = options.event_index;
        front.indirect = options.indirect;
        front.inflight = options.inflight;
        front.ring = options.packed ? test::RingKind::Packed : test::RingKind::Split;
        front.memory_bytes = (std::size_t{2} << 20U) +
                             options.queues * DriverRing::bytes_for(front.queue_size) +
                             (data + 0xffff) / 0x1'0000 * 0x1'0000;
        front_ = std::make_unique<VhostFrontEnd>(front);
    }

    core::Result<LoadResult> run();

  private:
    core::Result<void> connect();
    void prepare();
    void prepare_request(std::uint16_t queue, Request& request);
    void send(std::uint16_t queue, std::uint16_t number, Clock::time_point now);
    std::size_t reap(std::uint16_t queue, Clock::time_point now, bool again);
    void publish(std::uint16_t queue);
    bool wait_for_interrupt();
    void send_first();
    bool step();
    void ride();
    core::Result<void> stop();
    bool poll() override;
    // What the ring has is looked at, not told.
    bool prepare_sleep() override { return ended_ != nullptr; }
    void end_sleep() override {}

    const LoadOptions options_;
    const std::uint16_t per_head_;
    std::unique_ptr<VhostFrontEnd> front_;
    std::vector<std::vector<Request>> requests_;  // by queue and number
    std::uint64_t sectors_ = 0;
    std::uint64_t places_ = 0;  // requests the disk holds end to end
    std::uint64_t outstanding_ = 0;
    Clock::time_point start_, end_, now_, last_work_;
    Clock::time_point elapsed_at_;  // when the last operation that counts was taken
    std::uint64_t counted_ = 0;
    bool moved_ = false;   // the last step found something
    std::string problem_;  // why the load ended early
    std::promise<void>* ended_ = nullptr;
    core::Prng prng_{1};
    LoadResult result_;
};

core::Result<void> Load::connect() {
    if (!front_->connect()) {
        return core::fail(ErrorKind::Unavailable, front_->error());
    }
    const auto config = front_->read_config();
    if (!config) {
        return core::fail(ErrorKind::Unavailable, "the device does not tell its capacity");
    }
    sectors_ = config->capacity;
    const std::uint32_t block = std::max<std::uint32_t>(config->blk_size, virtio::kSectorBytes);
    if (options_.bytes % block != 0) {
        return core::fail(ErrorKind::InvalidArgument, "--bs is a multiple of the disk's " +
                                                          std::to_string(block) + "-byte blocks");
    }
    places_ = sectors_ / (options_.bytes / virtio::kSectorBytes);
    if (places_ == 0) {
        return core::fail(ErrorKind::InvalidArgument, "the disk is smaller than one request");
    }
    result_.inflight = front_->has_inflight();
    return {};
}

// Lays a request's three parts out once; only the sector changes from then on.
void Load::prepare_request(std::uint16_t queue, Request& request) {
    using namespace virtio::descriptor_flags;
    GuestRam& ram = front_->ram();
    DriverRing& ring = front_->ring(queue);
    const auto data_flags = static_cast<std::uint16_t>(kNext | (options_.write ? 0 : kWrite));
    const std::uint64_t header = GuestRam::guest(request.control);
    const std::uint64_t status = header + sizeof(virtio::BlkHeader);
    const std::uint64_t data = GuestRam::guest(request.data);
    virtio::BlkHeader fixed;
    fixed.type = static_cast<std::uint32_t>(options_.write ? BlkType::Out : BlkType::In);
    std::memcpy(ram.at(request.control), &fixed, sizeof(fixed));
    std::memset(ram.at(request.data), 0x5a, options_.bytes);
    if (!options_.indirect) {
        const std::uint16_t head = request.head;
        ring.describe(head, header, sizeof(fixed), kNext, static_cast<std::uint16_t>(head + 1));
        ring.describe(static_cast<std::uint16_t>(head + 1), data, options_.bytes, data_flags,
                      static_cast<std::uint16_t>(head + 2));
        ring.describe(static_cast<std::uint16_t>(head + 2), status, 1, kWrite);
        return;
    }
    virtio::Descriptor table[3];
    table[0].address = header;
    table[0].length = sizeof(fixed);
    table[0].flags = kNext;
    table[0].next = 1;
    table[1].address = data;
    table[1].length = options_.bytes;
    table[1].flags = data_flags;
    table[1].next = 2;
    table[2].address = status;
    table[2].length = 1;
    table[2].flags = kWrite;
    ring.write_table(request.control + kTableOffset, table);
    ring.describe(request.head, header + kTableOffset, sizeof(table), kIndirect);
}

void Load::prepare() {
    std::uint64_t control = front_->data_offset();
    std::uint64_t data = control + kControlBytes * options_.depth * options_.queues;
    data = (data + 4095) / 4096 * 4096;
    requests_.resize(options_.queues);
    for (std::uint16_t queue = 0; queue < options_.queues; ++queue) {
        requests_[queue].resize(options_.depth);
        for (std::uint32_t number = 0; number < options_.depth; ++number) {
            Request& request = requests_[queue][number];
            request.head = static_cast<std::uint16_t>(number * per_head_);
            request.control = control;
            request.data = data;
            control += kControlBytes;
            data += options_.bytes;
            prepare_request(queue, request);
        }
    }
}

void Load::send(std::uint16_t queue, std::uint16_t number, Clock::time_point now) {
    Request& request = requests_[queue][number];
    const std::uint64_t place =
        static_cast<std::uint64_t>((static_cast<unsigned __int128>(prng_.next()) * places_) >> 64U);
    const core::le64 sector = place * (options_.bytes / virtio::kSectorBytes);
    GuestRam& ram = front_->ram();
    std::memcpy(ram.at(request.control + offsetof(virtio::BlkHeader, sector)), &sector,
                sizeof(sector));
    *ram.at(request.control + sizeof(virtio::BlkHeader)) = std::byte{0xff};
    request.sent = now;
    front_->ring(queue).offer(request.head);
    ++outstanding_;
}

void Load::publish(std::uint16_t queue) {
    if (front_->ring(queue).publish()) {
        front_->kick(queue);
        ++result_.kicks;
    }
}

// Takes what the queue gave back and, if `again`, sends as much anew.
std::size_t Load::reap(std::uint16_t queue, Clock::time_point now, bool again) {
    DriverRing& ring = front_->ring(queue);
    std::size_t taken = 0;
    while (const auto used = ring.take_used()) {
        const std::uint32_t number = used->id / per_head_;
        CHECK(number < options_.depth);
        Request& request = requests_[queue][number];
        const std::byte status = *front_->ram().at(request.control + sizeof(virtio::BlkHeader));
        result_.errors += status == std::byte{0} ? 0 : 1;
        result_.latency_ns.record(
            static_cast<std::uint64_t>(std::chrono::nanoseconds(now - request.sent).count()));
        --outstanding_;
        ++taken;
        if (again) {
            send(queue, static_cast<std::uint16_t>(number), now);
        }
    }
    if (taken > 0) {
        result_.operations += taken;
        ++result_.batches;
        result_.batch_max = std::max<std::uint64_t>(result_.batch_max, taken);
        if (!options_.interrupts) {
            ring.suppress_interrupts();
        }
        if (again) {
            publish(queue);
        }
    }
    return taken;
}

// Asks every queue for an interrupt and sleeps until one comes. False when none does.
bool Load::wait_for_interrupt() {
    std::vector<pollfd> waited;
    for (std::uint16_t queue = 0; queue < options_.queues; ++queue) {
        if (front_->ring(queue).request_interrupt()) {
            return true;
        }
        waited.push_back({.fd = front_->call(queue).get(), .events = POLLIN, .revents = 0});
    }
    const auto limit = std::chrono::duration_cast<std::chrono::milliseconds>(kStallLimit);
    if (::poll(waited.data(), waited.size(), static_cast<int>(limit.count())) <= 0) {
        return false;
    }
    for (const pollfd& one : waited) {
        std::uint64_t count = 0;
        if ((one.revents & POLLIN) != 0 && read(one.fd, &count, sizeof(count)) == sizeof(count)) {
            result_.interrupts += count;
        }
    }
    return true;
}

// One look at every queue. False at the end, or with an error.
bool Load::step() {
    const bool draining = now_ >= end_;
    if (draining && elapsed_at_ == Clock::time_point{}) {
        elapsed_at_ = now_;
        counted_ = result_.operations;
    }
    std::size_t taken = 0;
    for (std::uint16_t queue = 0; queue < options_.queues; ++queue) {
        taken += reap(queue, now_, !draining);
    }
    moved_ = taken > 0;
    if (draining && outstanding_ == 0) {
        return false;
    }
    if (!moved_ && options_.interrupts && !wait_for_interrupt()) {
        problem_ = "the device gave no signal for 30 s";
        return false;
    }
    now_ = Clock::now();
    if (moved_) {
        last_work_ = now_;
    } else if (now_ - last_work_ > kStallLimit) {
        problem_ = "the device completed nothing for 30 s";
        return false;
    }
    return true;
}

// The reactor takes the steps; this thread waits for the last. The driver was a poller before the
// device's rings were, so what it offers is taken in the same turn.
void Load::ride() {
    std::promise<void> promise;
    auto done = promise.get_future();
    test::run_on(*options_.rides, [&] {
        ended_ = &promise;
        send_first();
    });
    done.wait();
}

bool Load::poll() {
    if (ended_ == nullptr) {
        return false;
    }
    if (!step()) {
        options_.rides->remove_poller(*this);
        ended_->set_value();
        return true;
    }
    return moved_;
}

core::Result<void> Load::stop() {
    for (std::uint16_t queue = 0; queue < options_.queues; ++queue) {
        std::uint64_t count = 0;
        if (read(front_->call(queue).get(), &count, sizeof(count)) == sizeof(count)) {
            result_.interrupts += count;
        }
        if (!front_->stop_queue(queue)) {
            return core::fail(ErrorKind::Unavailable, "a queue did not stop");
        }
    }
    return {};
}

void Load::send_first() {
    start_ = now_ = last_work_ = Clock::now();
    end_ = start_ + std::chrono::duration_cast<Clock::duration>(options_.time);
    for (std::uint16_t queue = 0; queue < options_.queues; ++queue) {
        if (!options_.interrupts) {
            front_->ring(queue).suppress_interrupts();
        }
        for (std::uint16_t number = 0; number < options_.depth; ++number) {
            send(queue, number, start_);
        }
        publish(queue);
    }
}

core::Result<LoadResult> Load::run() {
    if (options_.rides != nullptr) {
        test::run_on(*options_.rides, [this] { options_.rides->add_poller(*this); });
    }
    if (auto connected = connect(); !connected) {
        if (options_.rides != nullptr) {
            test::run_on(*options_.rides, [this] { options_.rides->remove_poller(*this); });
        }
        return std::unexpected(connected.error());
    }
    prepare();
    if (options_.rides != nullptr) {
        ride();
    } else {
        send_first();
        while (step()) {
        }
    }
    if (!problem_.empty()) {
        return core::fail(ErrorKind::Unavailable, problem_);
    }
    if (auto stopped = stop(); !stopped) {
        return std::unexpected(stopped.error());
    }
    result_.elapsed = elapsed_at_ - start_;
    result_.operations = counted_;  // the last ones came after the clock was stopped
    return result_;
}

}  // namespace

core::Result<LoadResult> run_load(const LoadOptions& options) {
    const std::uint32_t per_request = options.indirect ? 1 : kDirectDescriptors;
    const std::uint32_t needed = std::bit_ceil(options.depth * per_request);
    const std::uint32_t size =
        options.queue_size != 0 ? options.queue_size : std::max(needed, kMinQueueSize);
    if (options.depth == 0 || options.queues == 0 || options.bytes == 0 ||
        options.bytes % virtio::kSectorBytes != 0) {
        return core::fail(ErrorKind::InvalidArgument,
                          "depth and queues are at least 1, --bs a multiple of 512");
    }
    if (!std::has_single_bit(size) || size > kMaxQueueSize || needed > size) {
        return core::fail(ErrorKind::InvalidArgument,
                          "a queue of " + std::to_string(size) + " does not hold depth " +
                              std::to_string(options.depth) +
                              ": queues are powers of two up to 1024 and a request takes " +
                              std::to_string(per_request) +
                              " descriptors (--indirect makes that 1)");
    }
    return std::make_unique<Load>(options, size)->run();
}

}  // namespace remora::bench
