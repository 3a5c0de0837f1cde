// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/integrity/crash_world.h"

#include <algorithm>
#include <utility>

#include "services/integrity/integrity_format.h"

namespace remora::services::integrity {

using block::Opcode;
using block::Status;
using reactor::Task;

namespace {

constexpr std::size_t kMostInFlight = 40;
constexpr int kTurnsUntilStuck = 200'000;

/// Blocks of a device that a volume of so many fits on.
std::uint64_t blocks_below(const CrashWorld::Shape& shape) {
    const Layout layout{.block_size = shape.block_size};
    const std::uint64_t pages = shape.block_count / layout.page_entries() + 1;
    return layout.page_block(pages) + shape.block_count;
}

}  // namespace

CrashWorld::Shape CrashWorld::shape_of(std::uint64_t seed) {
    core::Prng prng(seed ^ 0x5eed);
    Shape shape;
    if (prng.below(10) == 0) {
        shape.block_size = 4096;
        shape.block_count = 560;
    }
    shape.volatile_cache = prng.below(10) < 6;
    shape.errors = prng.below(5) == 0;
    shape.cache_bytes = prng.below(2) == 0 ? 0 : core::kMiB;
    shape.steps = 20 + static_cast<int>(prng.below(100));
    shape.lives = 2 + static_cast<int>(prng.below(3));
    return shape;
}

CrashWorld::CrashWorld(std::uint64_t seed, const Shape& shape)
    : prng_(seed),
      shape_(shape),
      disk_(shape.block_size, blocks_below(shape), shape.volatile_cache),
      model_(blocks_below(shape)) {
    for (std::uint32_t i = 0; i < reactors_.size(); ++i) {
        reactors_[i] = std::make_unique<reactor::Reactor>(i, io_, clock_, core::Prng(seed + i),
                                                          reactor::PollPolicy{});
        pools_[i] = std::move(*memory::BufferPool::create(core::kMiB));
        contexts_.push_back({*reactors_[i], *pools_[i]});
    }
    uuid_.bytes[0] = 7;
    uuid_.bytes[15] = static_cast<unsigned char>(draw(2));  // says which reactor is its home
    open(true);
    disk_.drop_fua = shape.drop_fua;
}

CrashWorld::~CrashWorld() {
    if (device_ != nullptr) {
        close();
    }
}

void CrashWorld::live() {
    for (int i = 0; i < shape_.lives && failures_.empty(); ++i) {
        life();
        end_life();
        open(false);
        look_at_all();
        check_mismatches();
    }
}

void CrashWorld::open(bool create) {
    disk_.automatic = true;
    run([&]() -> Task<> {
        IntegrityOptions options;
        options.name = "v";
        options.uuid = uuid_;
        options.cache_bytes = shape_.cache_bytes;
        auto made = create ? co_await IntegrityDevice::create(options, disk_, contexts_)
                           : co_await IntegrityDevice::open(options, disk_, contexts_);
        if (!made) {
            fail("cannot be opened: " + made.error().message);
            co_return;
        }
        device_ = std::move(*made);
        device_->set_scrub_rate(0);
    });
    CHECK(device_ != nullptr);
    for (std::size_t i = 0; i < channels_.size(); ++i) {
        on(i, [this, i] { channels_[i] = std::move(*device_->open_channel()); });
    }
    turn();
    CHECK(device_->geometry().block_count >= shape_.block_count);
    disk_.automatic = false;
    crashed_ = false;
}

// Life.

void CrashWorld::life() {
    if (draw(4) == 0) {
        const auto begun = device_->start_scrub();
        CHECK(begun);
    }
    for (int i = 0; i < shape_.steps; ++i) {
        const std::uint64_t what = draw(20);
        if (what < 8 && in_flight_ < kMostInFlight) {
            start_some();
        } else if (what == 8) {
            clock_.time += std::chrono::milliseconds(draw(1500));
        } else {
            for (std::uint64_t n = draw(6); n > 0; --n) {
                let_one_go();
            }
        }
        for (std::uint64_t n = draw(3); n > 0; --n) {
            turn();
        }
    }
}

void CrashWorld::start_some() {
    const std::size_t where = draw(2);
    auto batch = std::make_shared<block::RequestBatch>();
    for (std::uint64_t n = 1 + draw(5); n > 0; --n) {
        start_one(*batch);
    }
    on(where, [this, where, batch] { channels_[where]->submit(*batch); });
    reactors_[where]->turn();  // what begins now has begun
}

void CrashWorld::start_one(block::RequestBatch& batch) {
    Io& io = *ios_.emplace_back(std::make_unique<Io>());
    ++in_flight_;
    io.push_frame(*this);
    batch.push_back(io);
    const std::uint64_t what = draw(100);
    io.opcode = what < 30   ? Opcode::Read
                : what < 78 ? Opcode::Write
                : what < 84 ? Opcode::WriteZeroes
                : what < 90 ? Opcode::Discard
                            : Opcode::Flush;
    if (io.opcode == Opcode::Flush) {
        io.start = model_.tick();
        return;
    }
    choose_range(io);
    io.force_unit_access = io.opcode != Opcode::Read && draw(5) == 0;
    io.takes_in_place = io.opcode == Opcode::Read && draw(2) == 0;
    if (io.opcode == Opcode::Read) {
        io.start = model_.tick();
    } else {
        io.start = model_.begin(io.lba, io.block_count, io.opcode != Opcode::Write);
    }
    if (io.opcode == Opcode::Read || io.opcode == Opcode::Write) {
        const std::size_t size = shape_.block_size;
        io.bytes.resize(size * io.block_count);
        for (std::uint32_t i = 0; io.opcode == Opcode::Write && i < io.block_count; ++i) {
            VolumeModel::fill(std::span(io.bytes).subspan(i * size, size), io.lba + i, io.start);
        }
        const std::size_t cut = draw(io.bytes.size());
        io.segments = {core::Segment{io.bytes.data(), cut},
                       core::Segment{io.bytes.data() + cut, io.bytes.size() - cut}};
        io.data = io.segments;
    }
}

/// Mostly a few blocks at one of two places that everybody writes to: one of them where two pages
/// meet.
void CrashWorld::choose_range(Io& io) {
    const std::uint64_t all = shape_.block_count;
    const Layout layout{.block_size = shape_.block_size};
    const std::uint64_t place = draw(10);
    io.lba = place < 4 ? draw(8) : place < 8 ? layout.page_entries() - 5 + draw(10) : draw(all);
    const std::uint64_t size = draw(50);
    const std::uint64_t count = size == 0 ? 1 + draw(all) : size < 6 ? 1 + draw(40) : 1 + draw(5);
    io.block_count = static_cast<std::uint32_t>(std::min(count, all - io.lba));
}

void CrashWorld::complete(block::RequestBatch& batch) {
    while (block::Request* request = batch.pop_front()) {
        ended(static_cast<Io&>(*request));
    }
}

void CrashWorld::ended(Io& io) {
    io.pop_frame();
    CHECK(!io.ended && io.depth == 0);
    io.ended = true;
    --in_flight_;
    if (crashed_) {
        return;
    }
    if (io.status != Status::Ok) {
        if (!shape_.errors || io.status != Status::IoError) {
            fail("a request at " + std::to_string(io.lba) + " ends with '" +
                 std::string(block::to_string(io.status)) + "'");
        }
        return;
    }
    switch (io.opcode) {
        case Opcode::Read:
            check_read(io);
            break;
        case Opcode::Flush:
            model_.flushed(io.start);
            break;
        case Opcode::Write:
        case Opcode::WriteZeroes:
        case Opcode::Discard:
            model_.end(
                io.lba, io.block_count, io.start,
                !shape_.volatile_cache || (io.force_unit_access && io.opcode != Opcode::Discard));
            break;
    }
}

void CrashWorld::check_read(const Io& io) {
    const std::size_t size = shape_.block_size;
    for (std::uint32_t i = 0; i < io.block_count; ++i) {
        const auto bytes = std::span(io.bytes).subspan(i * size, size);
        const auto version = io.is_hole ? 0 : VolumeModel::version_of(bytes, io.lba + i);
        if (!version || !model_.may_read(io.lba + i, *version, io.start)) {
            fail("block " + std::to_string(io.lba + i) + " reads as " +
                 (version ? "version " + std::to_string(*version) : "nothing written there") +
                 " since " + std::to_string(io.start) + ", of" + model_.history(io.lba + i));
        }
    }
}

void CrashWorld::let_one_go() {
    if (disk_.held() > 0) {
        const bool fails = shape_.errors && draw(30) == 0;
        disk_.let_go(draw(disk_.held()), fails ? Status::IoError : Status::Ok, prng_);
    }
}

// Death, and what is left.

void CrashWorld::end_life() {
    const std::uint64_t how = draw(10);
    if (how == 0 && !shape_.errors) {  // in good order, and then the power goes
        turn_until([this] {
            let_one_go();
            return in_flight_ == 0;
        });
        disk_.automatic = true;
        while (disk_.held() > 0) {
            let_one_go();
        }
        model_.flushed(model_.tick());
        check_mismatches();
        close();
    }
    check_mismatches();
    crashed_ = true;
    disk_.crash(how < 7 ? CrashDisk::Crash::Power : CrashDisk::Crash::Process, prng_);
    model_.crash();
    if (device_ != nullptr) {
        close();
    }
    disk_.revive();
}

void CrashWorld::close() {
    turn_until([this] {
        let_one_go();
        return in_flight_ == 0;
    });
    disk_.automatic = true;
    for (std::size_t i = 0; i < channels_.size(); ++i) {
        on(i, [this, i] { channels_[i].reset(); });
    }
    turn();
    run([this]() -> Task<> { co_await device_->stop(); });
    device_.reset();
    ios_.clear();
}

void CrashWorld::look_at_all() {
    disk_.automatic = true;
    if (draw(3) == 0) {
        scrub();
    }
    if (draw(3) > 0) {
        for (std::uint64_t lba = 0; lba < shape_.block_count; lba += 100) {
            look_at(lba, static_cast<std::uint32_t>(
                             std::min<std::uint64_t>(100, shape_.block_count - lba)));
        }
    } else {
        look_at(draw(shape_.block_count - 30), 30);
    }
    disk_.automatic = false;
}

void CrashWorld::look_at(std::uint64_t lba, std::uint32_t count) {
    Bytes bytes(std::size_t{count} * shape_.block_size);
    const core::Segment segment{bytes.data(), bytes.size()};
    Io io;
    io.lba = lba;
    io.block_count = count;
    io.data = std::span(&segment, 1);
    io.push_frame(*this);
    ++in_flight_;
    const bool before = std::exchange(crashed_, true);  // it is checked here
    on(0, [&] {
        block::RequestBatch batch;
        batch.push_back(io);
        channels_[0]->submit(batch);
    });
    turn_until([&io] { return io.ended; });
    crashed_ = before;
    if (io.status != Status::Ok) {
        fail("after the crash a read at " + std::to_string(lba) + " ends with '" +
             std::string(block::to_string(io.status)) + "'");
        return;
    }
    for (std::uint32_t i = 0; i < count; ++i) {
        const auto block = std::span(bytes).subspan(i * shape_.block_size, shape_.block_size);
        const auto version = VolumeModel::version_of(block, lba + i);
        if (!version || !model_.may_survive(lba + i, *version)) {
            fail("after the crash block " + std::to_string(lba + i) + " reads as " +
                 (version ? "version " + std::to_string(*version) : "nothing written there") +
                 ", of" + model_.history(lba + i));
            return;
        }
        model_.observe(lba + i, *version);
    }
}

void CrashWorld::scrub() {
    const auto begun = device_->start_scrub();
    CHECK(begun);
    turn_until([this] { return !device_->status().scrub.running; });
    CHECK(device_->status().scrub.done_blocks == device_->geometry().block_count);
}

void CrashWorld::check_mismatches() {
    if (device_ != nullptr && device_->status().mismatches > 0) {
        fail("false mismatch at block " + std::to_string(*device_->status().first_bad_lba));
    }
}

// The reactors.

void CrashWorld::turn() {
    for (const auto& reactor : reactors_) {
        reactor->turn();
    }
}

template <typename C>
void CrashWorld::turn_until(C condition) {
    for (int i = 0; !condition(); ++i) {
        turn();
        CHECK(i < kTurnsUntilStuck);
    }
}

template <typename F>
void CrashWorld::on(std::size_t reactor, F f) {
    reactors_[reactor]->post_function(std::move(f));
}

template <typename F>
reactor::detail::Detached CrashWorld::start(F& body, bool& done) {
    co_await body();
    done = true;
}

template <typename F>
void CrashWorld::run(F body) {
    bool done = false;
    on(0, [&] { start(body, done); });
    turn_until([&done] { return done; });
}

void CrashWorld::fail(const std::string& what) {
    failures_.push_back(what);
}

}  // namespace remora::services::integrity
