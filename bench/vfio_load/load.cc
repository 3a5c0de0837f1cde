// SPDX-License-Identifier: Apache-2.0
#include "bench/vfio_load/load.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <optional>
#include <poll.h>
#include <unistd.h>
#include <vector>

#include "core/check.h"
#include "core/prng.h"
#include "nvme/spec/identify.h"
#include "nvme/spec/pcie.h"
#include "tests/support/nvme_guest.h"

namespace remora::bench {

using core::ErrorKind;
using nvme::spec::Command;
using nvme::spec::IoOpcode;
using test::HostQueue;
using test::NvmeGuest;

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kMaxEntries = 1024;
constexpr auto kStallLimit = std::chrono::seconds(30);

/// One command's place in the guest memory and when it was last sent.
struct Request {
    Command command;
    Clock::time_point sent;
};

class Load {
  public:
    explicit Load(const LoadOptions& options) : options_(options) {
        test::NvmeGuestOptions guest;
        guest.path = options.path;
        guest.map_doorbells = options.map_doorbells;
        guest.polls = !options.interrupts;
        const std::size_t pages = options.bytes / nvme::spec::kPageBytes + 2;  // data and list
        guest.memory_bytes = (std::size_t{8} << 20U) +
                             std::size_t{options.queues} *
                                 (options.depth * pages * nvme::spec::kPageBytes + 0x20000);
        guest_ = std::make_unique<NvmeGuest>(guest);
    }

    core::Result<LoadResult> run();

  private:
    core::Result<void> connect();
    core::Result<void> find_size();
    void prepare();
    void send(std::uint16_t qid, std::uint32_t number, Clock::time_point now);
    std::size_t reap(std::uint16_t qid, Clock::time_point now, bool again);
    bool wait_for_interrupt();
    core::Result<void> turn_until(Clock::time_point end);

    const LoadOptions options_;
    std::unique_ptr<NvmeGuest> guest_;
    std::vector<std::vector<Request>> requests_;       // by queue and number
    std::vector<std::vector<std::uint32_t>> numbers_;  // by queue and command id
    std::uint64_t blocks_per_request_ = 0;
    std::uint64_t places_ = 0;  // requests the volume holds end to end
    std::uint64_t outstanding_ = 0;
    core::Prng prng_{1};
    LoadResult result_;
};

core::Result<void> Load::find_size() {
    const auto bytes = guest_->identify(0, options_.nsid);
    if (!bytes) {
        return core::fail(ErrorKind::Unavailable, "the controller does not identify itself");
    }
    nvme::spec::IdentifyNamespace page;
    std::memcpy(&page, bytes->data(), sizeof(page));
    const std::uint32_t block = 1U << (page.lbaf[0].lba_shift & 31U);
    if (page.nsze == 0 || block < 512) {
        return core::fail(ErrorKind::NotFound,
                          "there is no namespace " + std::to_string(options_.nsid));
    }
    if (options_.bytes % block != 0) {
        return core::fail(ErrorKind::InvalidArgument, "--bs is a multiple of the volume's " +
                                                          std::to_string(block) + "-byte blocks");
    }
    blocks_per_request_ = options_.bytes / block;
    places_ = page.nsze / blocks_per_request_;
    return places_ > 0 ? core::Result<void>{}
                       : core::fail(ErrorKind::InvalidArgument,
                                    "the volume is smaller than one command's data");
}

core::Result<void> Load::connect() {
    if (!guest_->connect() || !guest_->enable() ||
        (options_.shadow && !guest_->use_shadow_doorbells())) {
        return core::fail(ErrorKind::Unavailable, guest_->error());
    }
    result_.doorbells_mapped = guest_->doorbells_mapped();
    const std::uint32_t entries =
        std::min(kMaxEntries, std::max(64U, std::bit_ceil(options_.depth + 1)));
    for (std::uint32_t qid = 1; qid <= options_.queues; ++qid) {
        if (!guest_->create_queue(static_cast<std::uint16_t>(qid), entries)) {
            return core::fail(ErrorKind::Unavailable, guest_->error());
        }
    }
    return find_size();
}

// Lays a command and its data out once; only the block changes from then on.
void Load::prepare() {
    requests_.resize(options_.queues + 1);
    numbers_.resize(options_.queues + 1, std::vector<std::uint32_t>(0x10000));
    const IoOpcode opcode = options_.write ? IoOpcode::Write : IoOpcode::Read;
    for (std::uint32_t qid = 1; qid <= options_.queues; ++qid) {
        requests_[qid].resize(options_.depth);
        for (Request& request : requests_[qid]) {
            const std::uint64_t data = guest_->allocate(options_.bytes);
            std::memset(guest_->at(data), 0x5a, options_.bytes);
            const bool listed = options_.bytes > 2 * nvme::spec::kPageBytes;
            const std::uint64_t list = listed ? guest_->allocate(nvme::spec::kPageBytes) : 0;
            request.command = NvmeGuest::io(
                opcode, 0, static_cast<std::uint32_t>(blocks_per_request_), options_.nsid);
            guest_->point(request.command, data, options_.bytes, list);
        }
    }
}

void Load::send(std::uint16_t qid, std::uint32_t number, Clock::time_point now) {
    Request& request = requests_[qid][number];
    const auto place =
        static_cast<std::uint64_t>((static_cast<unsigned __int128>(prng_.next()) * places_) >> 64U);
    const std::uint64_t lba = place * blocks_per_request_;
    request.command.cdw10 = static_cast<std::uint32_t>(lba & 0xffff'ffffU);
    request.command.cdw11 = static_cast<std::uint32_t>(lba >> 32U);
    request.sent = now;
    numbers_[qid][guest_->push(guest_->queue(qid), request.command)] = number;
    ++outstanding_;
}

// Takes what the queue gave back and, if `again`, sends as much anew.
std::size_t Load::reap(std::uint16_t qid, Clock::time_point now, bool again) {
    HostQueue& queue = guest_->queue(qid);
    std::size_t taken = 0;
    while (const auto entry = guest_->pop(queue)) {
        const std::uint32_t number = numbers_[qid][entry->cid];
        result_.errors += entry->status() == 0 ? 0 : 1;
        result_.latency_ns.record(static_cast<std::uint64_t>(
            std::chrono::nanoseconds(now - requests_[qid][number].sent).count()));
        --outstanding_;
        ++taken;
        if (again) {
            send(qid, number, now);
        }
    }
    if (taken > 0) {
        result_.operations += taken;
        ++result_.batches;
        result_.batch_max = std::max<std::uint64_t>(result_.batch_max, taken);
        guest_->ring_taken(queue);
        if (again) {
            guest_->ring(queue);
        }
    }
    return taken;
}

// Sleeps until an interrupt comes. False when none does.
bool Load::wait_for_interrupt() {
    std::vector<pollfd> waited;
    for (std::uint32_t qid = 1; qid <= options_.queues; ++qid) {
        waited.push_back({.fd = guest_->interrupt(static_cast<std::uint16_t>(qid)).get(),
                          .events = POLLIN,
                          .revents = 0});
    }
    const auto limit = std::chrono::duration_cast<std::chrono::milliseconds>(kStallLimit);
    if (poll(waited.data(), waited.size(), static_cast<int>(limit.count())) <= 0) {
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

core::Result<void> Load::turn_until(Clock::time_point end) {
    Clock::time_point now = Clock::now();
    Clock::time_point last_work = now;
    const bool draining = end == Clock::time_point{};
    while (draining ? outstanding_ > 0 : now < end) {
        std::size_t taken = 0;
        for (std::uint32_t qid = 1; qid <= options_.queues; ++qid) {
            taken += reap(static_cast<std::uint16_t>(qid), now, !draining);
        }
        if (taken == 0 && options_.interrupts && !wait_for_interrupt()) {
            return core::fail(ErrorKind::Unavailable, "the controller gave no signal for 30 s");
        }
        now = Clock::now();
        if (taken > 0) {
            last_work = now;
        } else if (now - last_work > kStallLimit) {
            return core::fail(ErrorKind::Unavailable, "the controller completed nothing for 30 s");
        }
    }
    return {};
}

core::Result<LoadResult> Load::run() {
    if (auto connected = connect(); !connected) {
        return std::unexpected(connected.error());
    }
    prepare();
    const Clock::time_point start = Clock::now();
    for (std::uint32_t qid = 1; qid <= options_.queues; ++qid) {
        for (std::uint32_t number = 0; number < options_.depth; ++number) {
            send(static_cast<std::uint16_t>(qid), number, start);
        }
        guest_->ring(guest_->queue(static_cast<std::uint16_t>(qid)));
    }
    const auto length = std::chrono::duration_cast<Clock::duration>(options_.time);
    if (auto turned = turn_until(start + length); !turned) {
        return std::unexpected(turned.error());
    }
    result_.elapsed = Clock::now() - start;
    const std::uint64_t counted = result_.operations;
    if (auto drained = turn_until({}); !drained) {
        return std::unexpected(drained.error());
    }
    result_.operations = counted;  // the last ones came after the clock was stopped
    return result_;
}

}  // namespace

core::Result<LoadResult> run_load(const LoadOptions& options) {
    if (options.depth == 0 || options.depth >= kMaxEntries || options.queues == 0 ||
        options.bytes == 0 || options.bytes % 512 != 0) {
        return core::fail(ErrorKind::InvalidArgument,
                          "depth is 1 to 1023, queues at least 1, --bs a multiple of 512");
    }
    return std::make_unique<Load>(options)->run();
}

}  // namespace remora::bench
