// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/world/sim_file.h"

#include <algorithm>
#include <cerrno>
#include <list>
#include <optional>
#include <utility>

#include "tests/sim/world/world.h"

namespace remora::sim {

namespace {

using reactor::FileOp;
using std::chrono::microseconds;

constexpr std::uint64_t kErrorOneIn = 60;
constexpr std::uint64_t kSlowOneIn = 12;
constexpr std::uint64_t kLostMeanwhileOneIn = 2;
constexpr std::uint64_t kFlushErrorOneIn = 8;

class SimFile final : public reactor::File, public Source {
  public:
    SimFile(SimIo& io, std::shared_ptr<Disk::File> file, bool locked)
        : Source(io),
          file_(std::move(file)),
          locked_(locked),
          prng_(io.world().fork_prng()),
          token_(std::make_shared<int>(0)) {}
    ~SimFile() override {
        CHECK(in_flight_.empty() && finished_.empty());
        unlock();
    }

    [[nodiscard]] std::uint64_t size() const override { return file_->seen.size(); }
    [[nodiscard]] std::size_t memory_alignment() const override { return Disk::kSector; }
    [[nodiscard]] std::size_t offset_alignment() const override { return Disk::kSector; }

    core::Result<void> grow(std::uint64_t size) override {
        io_.process().step();
        if (io_.world().faults().strikes(Fault::DiskFull, kErrorOneIn)) {
            return core::fail_errno("make '" + file_->path + "' longer", ENOSPC);
        }
        CHECK(size >= file_->seen.size());
        Disk::grow(*file_, size);
        io_.process().step();
        return {};
    }

    void submit(FileOp& op) override {
        io_.process().step();
        check_alignment(op);
        World& world = io_.world();
        Nanos delay = microseconds(10) + Nanos{prng_.below(200'000)};
        if (world.faults().strikes(Fault::DiskSlow, kSlowOneIn)) {
            delay += microseconds(world.faults().pick(Fault::DiskSlow, 4'000'000));
            lose_connection_meanwhile();
        }
        in_flight_.push_back({&op, prng_.below(4) == 0, 0, {}});
        const auto flight = std::prev(in_flight_.end());
        // What a write takes and a read brings is so at some moment between start and end.
        if (flight->early) {
            flight->result = carry_out(*flight);
        }
        world.events().after(delay, [this, flight, alive = std::weak_ptr<int>(token_)] {
            if (!alive.expired()) {
                finish(flight);
            }
        });
    }

    /// What is slow outlives, now and then, the connection that asked for it.
    void lose_connection_meanwhile() {
        World& world = io_.world();
        Machine& machine = io_.process().machine();
        if (world.faults().strikes(Fault::Reset, kLostMeanwhileOneIn)) {
            const Nanos after = microseconds(world.faults().pick(Fault::Reset, 3000));
            world.events().after(after, [&world, &machine] { world.network().break_one(machine); });
        }
    }

    void dispatch() override {
        // With its last completion the file may go.
        for (std::size_t left = finished_.size(); left > 0; --left) {
            FileOp* op = finished_.front();
            finished_.pop_front();
            op->handler->on_file_done(*op);
        }
    }
    void abandon(bool power_lost) override {
        token_.reset();
        // A killed process's direct I/O is finished by the kernel, or was cancelled.
        for (Flight& flight : in_flight_) {
            if (!flight.early && !power_lost && prng_.below(2) == 0 &&
                flight.op->kind != FileOp::Kind::Read) {
                (void)carry_out(flight);
            } else if (!flight.early && power_lost && flight.op->kind == FileOp::Kind::Write) {
                (void)carry_out(flight);  // then torn like any unflushed write
            }
        }
        unlock();
    }

  private:
    struct Flight {
        FileOp* op = nullptr;
        bool early = false;
        int result = 0;
        std::optional<Fault> fault;
    };

    void unlock() {
        if (std::exchange(locked_, false) && file_->locks > 0) {
            --file_->locks;
        }
    }

    static void check_alignment(const FileOp& op) {
        if (op.kind != FileOp::Kind::Read && op.kind != FileOp::Kind::Write) {
            return;
        }
        CHECK(op.offset % Disk::kSector == 0 && op.length % Disk::kSector == 0);
        CHECK(core::total_size(op.segments) == op.length);
        for (const core::Segment& segment : op.segments) {
            CHECK(reinterpret_cast<std::uintptr_t>(segment.data) % Disk::kSector == 0);
            CHECK(segment.size % Disk::kSector == 0);
        }
    }

    int strike(Flight& flight, Fault fault, std::uint64_t one_in, int error) {
        if (!io_.world().faults().strikes(fault, one_in)) {
            return 0;
        }
        flight.fault = fault;
        return error;
    }

    int fault_of(Flight& flight) {
        const FileOp& op = *flight.op;
        if (op.kind == FileOp::Kind::Flush) {
            return strike(flight, Fault::FlushError, kFlushErrorOneIn, -EIO);
        }
        int error = strike(flight, Fault::DiskError, kErrorOneIn, -EIO);
        if (error == 0 && op.kind == FileOp::Kind::Write) {
            error = strike(flight, Fault::DiskFull, kErrorOneIn, -ENOSPC);
        }
        return error;
    }

    int carry_out(Flight& flight) {
        FileOp& op = *flight.op;
        const int fault = fault_of(flight);
        if (op.kind == FileOp::Kind::Read) {
            if (fault == 0 && op.offset + op.length <= file_->seen.size()) {
                core::SegmentCursor(op.segments)
                    .copy_in(std::span(file_->seen).subspan(op.offset, op.length));
                return 0;
            }
            return fault != 0 ? fault : -EIO;
        }
        if (op.kind == FileOp::Kind::Flush) {
            if (fault == 0) {
                Disk::flush(*file_);
            }
            return fault;
        }
        if (op.kind != FileOp::Kind::Write) {
            if (fault == 0) {
                Disk::zero(*file_, op.offset, op.length);
            }
            return fault;
        }
        std::vector<std::byte> bytes(op.length);
        core::SegmentCursor(op.segments).copy_out(bytes);
        if (fault != 0) {
            // A failed write may have been carried out in part.
            bytes.resize(prng_.below(op.length / file_->atom + 1) * file_->atom);
        }
        Disk::write(*file_, op.offset, bytes);
        return fault;
    }

    void finish(std::list<Flight>::iterator flight) {
        FileOp* op = flight->op;
        op->result = flight->early ? flight->result : carry_out(*flight);
        if (flight->fault) {
            io_.world().faults().is_told(*flight->fault);
        }
        in_flight_.erase(flight);
        finished_.push_back(op);
        has_news();
    }

    std::shared_ptr<Disk::File> file_;
    bool locked_;
    core::Prng prng_;
    std::shared_ptr<int> token_;  // gone when this is, or its process
    std::list<Flight> in_flight_;
    std::deque<FileOp*> finished_;
};

}  // namespace

core::Result<std::unique_ptr<reactor::File>> open_sim_file(SimIo& io,
                                                           const std::string& path,
                                                           const reactor::FileOptions& options) {
    Disk& disk = io.process().machine().disk;
    const bool made = options.create && !disk.exists(path);
    const auto file = disk.open(path, options.create);
    if (file == nullptr) {
        return core::fail_errno("open '" + path + "'", ENOENT);
    }
    if (made) {
        Disk::truncate(*file, options.size);
        Disk::flush(*file);
    }
    if (options.exclusive && file->locks > 0) {
        return core::fail(core::ErrorKind::FailedPrecondition,
                          "open '" + path + "': another process uses this file");
    }
    file->locks += options.exclusive ? 1 : 0;
    return std::make_unique<SimFile>(io, file, options.exclusive);
}

}  // namespace remora::sim
