// SPDX-License-Identifier: Apache-2.0
// CrashWorld: an IntegrityDevice on two reactors over a CrashDisk, asked for anything at random and
// crashed at random, several times over; a VolumeModel says what it may answer. All of it follows
// from the seed.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "memory/buffer_pool.h"
#include "reactor/call.h"
#include "services/integrity/integrity_device.h"
#include "tests/unit/block/still_world.h"
#include "tests/unit/integrity/crash_disk.h"
#include "tests/unit/integrity/volume_model.h"

namespace remora::services::integrity {

class CrashWorld final : private block::Completer {
  public:
    struct Shape {
        std::uint32_t block_size = 512;
        std::uint64_t block_count = 1200;  ///< Of the volume, some three pages.
        bool volatile_cache = true;
        bool drop_fua = false;  ///< The disk lies.
        bool errors = false;    ///< Requests below fail now and then.
        std::size_t cache_bytes = 0;
        int lives = 3;
        int steps = 60;  ///< Of a life.
    };
    static Shape shape_of(std::uint64_t seed);

    CrashWorld(std::uint64_t seed, const Shape& shape);
    ~CrashWorld();

    void live();
    /// What was wrong, if anything was.
    [[nodiscard]] const std::vector<std::string>& failures() const { return failures_; }

  private:
    struct Io : block::Request {
        Bytes bytes;
        std::array<core::Segment, 2> segments;
        std::uint64_t start = 0;
        bool ended = false;
    };

    void open(bool create);
    void life();
    void start_some();
    void start_one(block::RequestBatch& batch);
    void choose_range(Io& io);
    void complete(block::RequestBatch& batch) override;
    void ended(Io& io);
    void check_read(const Io& io);
    void end_life();
    void close();
    void look_at_all();
    void look_at(std::uint64_t lba, std::uint32_t count);
    void scrub();
    void check_mismatches();
    void let_one_go();
    void turn();
    template <typename C>
    void turn_until(C condition);
    template <typename F>
    void on(std::size_t reactor, F f);
    template <typename F>
    void run(F body);
    template <typename F>
    static reactor::detail::Detached start(F& body, bool& done);
    void fail(const std::string& what);
    std::uint64_t draw(std::uint64_t bound) { return prng_.below(bound); }

    core::Prng prng_;
    Shape shape_;
    block::StillIo io_;
    block::StillClock clock_;
    std::array<std::unique_ptr<reactor::Reactor>, 2> reactors_;
    std::array<std::unique_ptr<memory::BufferPool>, 2> pools_;
    std::vector<block::ReactorContext> contexts_;
    CrashDisk disk_;
    VolumeModel model_;
    core::Uuid uuid_;
    std::unique_ptr<IntegrityDevice> device_;
    std::array<std::unique_ptr<block::Channel>, 2> channels_;
    std::vector<std::unique_ptr<Io>> ios_;
    std::size_t in_flight_ = 0;
    bool crashed_ = false;
    std::vector<std::string> failures_;
};

}  // namespace remora::services::integrity
