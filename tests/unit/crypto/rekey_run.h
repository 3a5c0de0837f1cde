// SPDX-License-Identifier: Apache-2.0
// RekeyRun: a volume whose key is changed under I/O, as a seed has it: pieces that cannot be read
// or written for a while, a store that fails, power cuts at any moment. After each of these every
// block is compared with what it may be.
#pragma once

#include <array>
#include <memory>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "core/log.h"
#include "services/crypto/rekey.h"
#include "tests/support/crash_client.h"
#include "tests/support/jumping_world.h"

namespace remora::services::crypto {

/// A store that takes its time, fails now and then, and is cut off with the power.
class FakeKeeper final : public RekeyKeeper {
  public:
    explicit FakeKeeper(core::Prng prng) : prng_(prng) {}

    reactor::Task<core::Result<void>> keep_rekey(std::string /*volume*/, RekeyPoint kept) override {
        co_await wait();
        if (off || fails()) {
            co_return core::fail(core::ErrorKind::Unavailable, "the store fails");
        }
        point = std::move(kept);
        co_await wait();
        co_return core::Result<void>();
    }
    reactor::Task<core::Result<void>> finish_rekey(std::string /*volume*/) override {
        co_await wait();
        if (off || fails()) {
            co_return core::fail(core::ErrorKind::Unavailable, "the store fails");
        }
        finished = true;
        point = {};
        co_await wait();
        co_return core::Result<void>();
    }

    RekeyPoint point;
    bool finished = false;
    bool off = false;

  private:
    bool fails() { return prng_.below(8) == 0; }
    reactor::Task<> wait() {
        co_await reactor::sleep_for(core::Nanos(static_cast<std::int64_t>(prng_.below(2'000'000))));
    }

    core::Prng prng_;
};

class RekeyRun {
  public:
    explicit RekeyRun(std::uint64_t seed)
        : prng_(seed), world_(seed), sector_size_(prng_.below(2) == 0 ? 512 : 4096) {
        log::set_sink([](core::log::Level, std::string_view) {});
    }
    ~RekeyRun() { log::set_sink(nullptr); }

    void play() {
        begin_life({});
        world_.run([this]() -> reactor::Task<> { co_await client_.read_all(); });
        const std::uint64_t changes = 1 + prng_.below(2);
        for (std::uint64_t i = 0; i < changes && !testing::Test::HasFailure(); ++i) {
            play_change();
        }
        end_life();
        // With the last key alone.
        begin_life(power_cut());
        world_.run([this]() -> reactor::Task<> { co_await client_.read_all(); });
        end_life();
    }
    [[nodiscard]] std::uint64_t cuts_within() const { return cuts_within_; }

  private:
    static constexpr std::uint64_t kBlocks = 72;  // four pieces, and some

    [[nodiscard]] std::unique_ptr<const XtsKey> key(std::uint64_t number) const {
        std::array<std::byte, 64> bytes;
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            bytes[i] = static_cast<std::byte>(number * 7 + i);
        }
        return std::move(*XtsKey::create(bytes));
    }
    [[nodiscard]] bool changing() const { return rekey_ != nullptr && !rekey_->done(); }

    void begin_life(test::Medium medium) {
        disk_ = std::make_unique<test::CrashingDevice>("disk", kBlocks, prng_.fork(),
                                                       std::move(medium));
        CryptOptions options;
        options.name = "v";
        options.sector_size = sector_size_;
        const block::ReactorContext context{world_.reactor, *world_.pool};
        device_ =
            std::move(*CryptDevice::create(*disk_, options, key(key_), std::span(&context, 1)));
        keeper_.off = false;
        client_.power_up();
        client_.allow_errors(under_way_);  // a piece that cannot be written refuses its requests
        if (under_way_) {
            begin_change();
        }
        world_.run([this]() -> reactor::Task<> {
            channel_ = std::move(*device_->open_channel());
            client_.open(*channel_, kBlocks);
            co_return;
        });
    }
    void begin_change() {
        rekey_ = std::make_unique<Rekey>(*device_, keeper_,
                                         RekeyOptions{.piece_bytes = 16 * test::kCrashBlock});
        world_.run([this]() -> reactor::Task<> {
            const auto begun = co_await rekey_->start(key(key_ + 1), keeper_.point);
            EXPECT_TRUE(begun) << begun.error().message;
        });
    }
    void end_life() {
        world_.run_until([this] { return client_.in_flight() == 0; });
        world_.run([this]() -> reactor::Task<> {
            channel_.reset();
            if (rekey_ != nullptr) {
                co_await rekey_->stop();
                rekey_.reset();
            }
            co_await device_->stop();
            device_.reset();
        });
    }
    test::Medium power_cut() { return disk_->cut_power(); }

    void play_change() {
        keeper_.finished = false;
        keeper_.point = {};
        under_way_ = true;
        client_.allow_errors(true);
        begin_change();
        for (std::uint64_t cuts = prng_.below(4); cuts > 0; --cuts) {
            play_ops(prng_.below(40));
            cut_and_go_on();
        }
        if (under_way_) {
            play_ops(20);
            disk_->dead = block::Status::Ok;
            disk_->bad_blocks.clear();
            world_.run_until([this] { return rekey_->done(); });
            take_next_key();
        }
        world_.run_until([this] { return client_.in_flight() == 0; });
        client_.allow_errors(false);
        world_.run([this]() -> reactor::Task<> {
            co_await client_.check_all();
            co_await client_.flush();
        });
    }
    void take_next_key() {
        under_way_ = false;
        ++key_;
        world_.run([this]() -> reactor::Task<> {
            co_await rekey_->stop();
            rekey_.reset();
        });
    }
    void cut_and_go_on() {
        if (changing() && prng_.below(2) == 0) {
            for (int i = 0; i < 2000 && keeper_.point.block_count == 0; ++i) {
                world_.step();
            }
            for (std::uint64_t steps = prng_.below(20); steps > 0; --steps) {
                world_.step();
            }
        }
        cuts_within_ += changing() && keeper_.point.block_count > 0 ? 1U : 0U;
        client_.cut();
        keeper_.off = true;
        test::Medium medium = power_cut();
        end_life();
        if (under_way_ && keeper_.finished) {
            under_way_ = false;
            ++key_;
        }
        begin_life(std::move(medium));
        world_.run([this]() -> reactor::Task<> { co_await client_.read_all(); });
    }
    void play_ops(std::uint64_t ops) {
        for (std::uint64_t i = 0; i < ops && !testing::Test::HasFailure(); ++i) {
            world_.reactor.post_function([this] { client_.start_random(true); });
            world_.step();
            for (std::uint64_t steps = prng_.below(60); steps > 0; --steps) {
                world_.step();
            }
            world_.run_until([this] { return client_.in_flight() < 12; });
            if (under_way_ && prng_.below(12) == 0) {
                trouble();
            }
        }
    }
    void trouble() {
        if (disk_->dead != block::Status::Ok || !disk_->bad_blocks.empty()) {
            disk_->dead = block::Status::Ok;
            disk_->bad_blocks.clear();
        } else if (prng_.below(2) == 0) {
            disk_->dead = block::Status::PathError;
        } else {
            disk_->bad_blocks.insert(prng_.below(kBlocks));
        }
    }

    core::Prng prng_;
    test::JumpingWorld world_;
    std::uint32_t sector_size_;
    FakeKeeper keeper_{prng_.fork()};
    std::unique_ptr<test::CrashingDevice> disk_;
    std::unique_ptr<CryptDevice> device_;
    std::unique_ptr<Rekey> rekey_;
    std::unique_ptr<block::Channel> channel_;
    test::CrashClient client_{prng_.fork()};
    std::uint64_t key_ = 1;
    bool under_way_ = false;
    std::uint64_t cuts_within_ = 0;
};

}  // namespace remora::services::crypto
