// SPDX-License-Identifier: Apache-2.0
// CryptDevice: encryption at rest. A volume whose every byte below is AES-XTS ciphertext, with no
// header and at the same place, so that Linux opens what lies below as
//
//   cryptsetup open --type plain --cipher aes-xts-plain64 --key-size 256|512 --sector-size N
//              [--iv-large-sectors] --key-file KEY DEVICE NAME
//
// (--key-size counts both halves of the key; --iv-large-sectors is SectorNumbers::Sectors.)
//
// What differs from the device below:
//  - What was never written, was discarded or came by growing reads as noise: the decryption of
//    zeros. So there is no discard unless it is allowed, as in dm-crypt (`allow_discards`). With
//    it, those below learn which blocks are unused.
//  - Write-zeroes goes down as writes of encrypted zeros, whatever those below have: nobody there
//    learns where zeros are, and they take the room of any data.
//  - No holes: a block of zeros below is none above.
//
// XTS keeps content secret, not intact: who can write below can turn any 16 bytes into noise, and
// put back what a sector was once.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "block/device.h"
#include "block/reactor_context.h"
#include "services/crypto/aes_xts.h"
#include "services/crypto/key_lane.h"

namespace remora::services::crypto {

struct CryptOptions {
    std::string name;
    core::Uuid uuid;
    /// What has a tweak of its own: 512, 1024, 2048 or 4096, at most the block size below.
    std::uint32_t sector_size = 512;
    SectorNumbers numbers = SectorNumbers::Sectors;
    XtsKernel kernel = best_kernel();  ///< One that this processor has.
    bool allow_discards = false;
};

class CryptDevice final : public block::Device {
  public:
    /// `lower` outlives it. Writes are encrypted into the buffers of `reactors`; one that is not
    /// among them has only its channels' own.
    /// Errors: InvalidArgument for a sector size that is none or is larger than a block below.
    static core::Result<std::unique_ptr<CryptDevice>> create(
        block::Device& lower,
        CryptOptions options,
        std::unique_ptr<const XtsKey> key,
        std::span<const block::ReactorContext> reactors);

    [[nodiscard]] block::Geometry geometry() const override;
    /// Errors: ResourceExhausted, those of the device below, and Internal (OpenSSL).
    core::Result<std::unique_ptr<block::Channel>> open_channel() override;
    core::Result<void> grow(std::uint64_t block_count) override { return lower_.grow(block_count); }
    void show_growth() override { lower_.show_growth(); }
    void add_listener(block::DeviceListener& listener) override { lower_.add_listener(listener); }
    void remove_listener(block::DeviceListener& listener) override {
        lower_.remove_listener(listener);
    }
    reactor::Task<> stop() override;

    // The change of its key: driven by a Rekey, on the control reactor, one call at a time.

    /// From now on sectors before `split` have `next`. With blocks that are held from the first
    /// moment on only before any channel is open. Errors: those of the ciphers; nothing has
    /// changed.
    reactor::Task<core::Result<void>> begin_change(std::unique_ptr<const XtsKey> next,
                                                   KeySplit split);
    /// Tells all reactors; what is not held any more goes on. The position does not go back.
    reactor::Task<> set_split(KeySplit split);
    /// The same, and ends when none is under way of the requests that came before.
    reactor::Task<> hold(KeySplit split);
    /// All sectors have the next key: the old one is wiped. All beyond the position was held.
    reactor::Task<> end_change();
    /// The key that sectors behind the position have, and that before it; null: none.
    [[nodiscard]] const XtsKey& key() const { return *key_; }
    [[nodiscard]] const XtsKey* next_key() const { return next_.get(); }
    /// One more, for work in the background. Errors: those of AesXts.
    [[nodiscard]] core::Result<std::unique_ptr<AesXts>> cipher_of(const XtsKey& key) const {
        return AesXts::create(key, numbers_, kernel_);
    }

    [[nodiscard]] block::Device& lower() const { return lower_; }
    [[nodiscard]] std::uint32_t sector_size() const { return sector_size_; }
    [[nodiscard]] std::span<const block::ReactorContext> reactors() const { return reactors_; }

    static constexpr std::size_t kMaxReactors = 64;

  private:
    CryptDevice(block::Device& lower,
                const CryptOptions& options,
                std::unique_ptr<const XtsKey> key,
                std::span<const block::ReactorContext> reactors);

    KeyLane& lane();
    core::Result<void> begin_here(const XtsKey& next, const KeySplit& split);
    void set_split_here(const KeySplit& split);
    void end_here(bool changed);

    block::Device& lower_;
    std::uint32_t sector_size_;
    SectorNumbers numbers_;
    XtsKernel kernel_;
    bool allow_discards_;
    std::unique_ptr<const XtsKey> key_;
    std::unique_ptr<const XtsKey> next_;  // null: the key is not being changed
    std::vector<block::ReactorContext> reactors_;
    std::array<KeyLane, kMaxReactors> lanes_;  // [i] belongs to reactor i
};

}  // namespace remora::services::crypto
