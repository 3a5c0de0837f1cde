// SPDX-License-Identifier: Apache-2.0
// IntegrityDevice: checksums end to end. Each block of the volume has a CRC32C, salted with the
// block's number and the volume's format, beside it on the same device below; whatever is read is
// checked, and what does not match is told and never given away (Status::DataCorrupt).
//
//   below:  superblock │ superblock │ checksum pages │ data
//
// An entry is two checksums, and a block is good when it matches either. A write makes its entry
// {what is there, what comes}, durable, before the block is written; later, once the block is
// durable, {what came, what came}. So no crash at any instant makes a good block look bad.
// docs/INTEGRITY.md has the layout, what is found and what is not, and what it costs.
//
// Differences to the device below: all of it reads as zeros until it is written, whatever lies
// there; it does not grow; no holes of those below are passed up.
//
// Metadata is shared by all reactors, a set of cached pages at a time: a lock word guards each
// set, is held for a look into memory and never over I/O or a turn, and who finds it taken comes
// again in the next turn.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "block/device.h"
#include "block/reactor_context.h"
#include "core/result.h"

namespace remora::services::integrity {

class IntegrityKeeper;
struct IntegrityShared;
struct Superblock;

struct IntegrityOptions {
    std::string name;
    core::Uuid uuid;
    /// create(): format also what carries an integrity volume, this one or another.
    bool overwrite = false;
    /// open(): start a scrub by itself if the volume was not closed by stop().
    bool scrub_when_unclean = false;
    /// The most that checksums may take of memory. A page of 4 KiB covers 510 blocks of 4096 bytes,
    /// or 496 of 512; what is not cached costs a read below. No more is taken than there are pages.
    std::size_t cache_bytes = std::size_t{32} << 20U;
};

struct IntegrityStatus {
    struct Scrub {
        bool running = false;
        std::uint64_t done_blocks = 0;  ///< Of the last scrub, when none is running.
        std::uint64_t total_blocks = 0;
    };
    /// Reads that met a block which does not match, and such blocks that scrubs met.
    std::uint64_t mismatches = 0;
    std::optional<std::uint64_t> first_bad_lba;  ///< Of the first mismatch since it was opened.
    Scrub scrub;
};

class IntegrityDevice final : public block::Device {
  public:
    using Made = core::Result<std::unique_ptr<IntegrityDevice>>;

    /// Formats `lower` and opens it: every block is "never written", durably. Writes 0.2 % of a
    /// volume with blocks of 4096 bytes, 1.7 % of one with 512. `lower` and `reactors` (what they
    /// refer to) outlive it; background work is done on one of `reactors`, on the current one if
    /// there are none. If it fails there is no integrity volume on `lower` that was made by it;
    /// what it had not begun to write is as it was. Errors: InvalidArgument (too small),
    /// FailedPrecondition (read only), AlreadyExists (carries an integrity volume, and no
    /// overwrite), ResourceExhausted, and Unavailable when I/O below fails.
    static reactor::Task<Made> create(IntegrityOptions options,
                                      block::Device& lower,
                                      std::span<const block::ReactorContext> reactors);
    /// Opens what create() made, with its UUID. Errors: NotFound (no superblock), DataLoss (both
    /// are damaged), FailedPrecondition (another volume's, another version's, `lower` is read only,
    /// smaller or has other blocks than it had), ResourceExhausted, Unavailable.
    static reactor::Task<Made> open(IntegrityOptions options,
                                    block::Device& lower,
                                    std::span<const block::ReactorContext> reactors);
    IntegrityDevice(const IntegrityDevice&) = delete;
    IntegrityDevice& operator=(const IntegrityDevice&) = delete;
    /// After stop().
    ~IntegrityDevice() override;

    [[nodiscard]] block::Geometry geometry() const override;
    /// Errors: ResourceExhausted, those of the device below.
    core::Result<std::unique_ptr<block::Channel>> open_channel() override;
    /// Refused: the place of the checksums is fixed when it is formatted.
    core::Result<void> grow(std::uint64_t block_count) override;
    /// Ends the scrub, writes what checksums memory has and the device below has not, and notes
    /// that the volume was closed. Leaves the device below as it is. Control reactor, once, with no
    /// channel open; a must before the destructor.
    reactor::Task<> stop() override;

    [[nodiscard]] IntegrityStatus status() const;  ///< Control reactor.
    /// Reads and checks every block that was ever written, beside other I/O; one that is bad is
    /// logged and counted, and the scrub goes on. Control reactor. Errors: FailedPrecondition when
    /// one is running.
    core::Result<void> start_scrub();
    /// Control reactor; the scrub ends soon.
    void cancel_scrub();
    /// Bytes a second that a scrub reads at most, from its next step on; 0: as fast as it goes.
    /// 64 MiB/s unless set. Control reactor.
    void set_scrub_rate(std::uint64_t bytes_per_second);

    [[nodiscard]] block::Device& lower() const;

  private:
    static reactor::Task<Made> start(IntegrityOptions options,
                                     block::Device& lower,
                                     std::span<const block::ReactorContext> reactors,
                                     const Superblock& superblock);
    IntegrityDevice(std::unique_ptr<IntegrityShared> shared,
                    std::unique_ptr<IntegrityKeeper> keeper);

    std::unique_ptr<IntegrityShared> shared_;
    std::unique_ptr<IntegrityKeeper> keeper_;  // lives on its own reactor
};

}  // namespace remora::services::integrity
