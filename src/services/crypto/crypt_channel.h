// SPDX-License-Identifier: Apache-2.0
// CryptChannel: the I/O of a CryptDevice on one reactor.
//
//   read:   down ─► below ─► decrypted where it is ─► up
//   write:  waiting ─► slot and buffer ─► a piece is encrypted ─► below ─┬─► up
//                                              ▲── more is left ─────────┘
//   write-zeroes: the same as a write of zeros
//   flush, discard: straight down
//
// While the volume's key is changed (rekey.h) there are two ciphers, and the place of a sector says
// which is its. Requests that touch what is being encrypted anew wait in `held_`.
//
// A buffer is one of the reactor's pool, of which this takes a quarter at most, or else the
// channel's own reserve. So a write that waits has another of this channel before it, whose end
// goes on with it: nothing waits for a buffer that somebody else holds, who may be waiting for us
// (a front end's data lies in the same pool). What waits is linked through the requests, whose
// number their makers bound.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "block/deferred.h"
#include "block/device.h"
#include "core/intrusive_list.h"
#include "core/segment.h"
#include "memory/buffer_pool.h"
#include "reactor/reactor.h"
#include "reactor/timer.h"
#include "services/crypto/crypt_segments.h"
#include "services/crypto/key_lane.h"

namespace remora::services::crypto {

class CryptDevice;

class CryptChannel final : public block::Channel,
                           public core::ListHook<CryptChannel>,
                           private block::Completer,
                           private reactor::TimerHandler {
  public:
    static constexpr std::size_t kSlots = 256;
    static constexpr std::size_t kReserveBytes = std::size_t{64} * 1024;
    /// Bytes encrypted, and as many decrypted, in one turn: some 0.2 ms each. Who asks for more at
    /// once waits for the next turns, and the neighbours on the reactor do not wait for them.
    static constexpr std::size_t kBytesPerTurn = std::size_t{2} << 20U;

    /// `device` and `lane` outlive it; `pool` may be null. Errors: ResourceExhausted.
    static core::Result<std::unique_ptr<CryptChannel>> create(const CryptDevice& device,
                                                              KeyLane& lane,
                                                              std::unique_ptr<block::Channel> lower,
                                                              std::unique_ptr<AesXts> cipher,
                                                              memory::BufferPool* pool);
    CryptChannel(const CryptChannel&) = delete;
    CryptChannel& operator=(const CryptChannel&) = delete;
    ~CryptChannel() override;

    void submit(block::RequestBatch& batch) override;

    // The change of keys, driven by the device. On the channel's reactor.

    /// From now on the lane's split says which sectors have the key of `next`.
    void begin_change(std::unique_ptr<AesXts> next);
    /// The lane's split is another: what was held goes on, is held again, or is failed.
    void let_held_go();
    /// Where the next key is, it stays.
    void end_change(bool changed);

  private:
    /// A write that has a buffer.
    struct Slot : core::QueueHook<Slot> {
        block::Request* request = nullptr;
        bool zeros = false;                   ///< It is a write-zeroes, below a write.
        std::span<const core::Segment> data;  ///< The request's own, as is the range below.
        std::uint64_t lba = 0;
        std::uint32_t block_count = 0;
        std::uint32_t done = 0;  ///< Blocks that are below.
        CryptPosition position;  ///< Behind what has been encrypted.
        std::span<std::byte> buffer;
        core::Segment piece;  ///< What of the buffer is on its way.
    };
    using Reserve = std::unique_ptr<std::byte, void (*)(std::byte*)>;

    CryptChannel(const CryptDevice& device,
                 KeyLane& lane,
                 std::unique_ptr<block::Channel> lower,
                 std::unique_ptr<AesXts> cipher,
                 memory::BufferPool* pool,
                 Reserve reserve);

    void complete(block::RequestBatch& batch) override;
    void on_timer(reactor::Timer& timer) override;
    void begin_turn();
    void take(block::Request& request, block::RequestBatch& down);
    void finish(block::Request& request, block::RequestBatch& up);
    AesXts& cipher_at(std::uint64_t sector, std::size_t& bytes);
    void encrypt(CryptPosition& from, std::span<std::byte> out);
    void encrypt_zeros(CryptPosition& from, std::span<std::byte> out);
    void decrypt(CryptPosition& at, std::size_t bytes);
    void work(block::RequestBatch& up, block::RequestBatch& down);
    void go_on_next_turn();

    void take_read(block::Request& request, block::RequestBatch& up);
    void decrypt_some(block::RequestBatch& up);

    void encrypt_some(block::RequestBatch& down);
    Slot* begin_write();
    void encrypt_piece(Slot& slot, block::RequestBatch& down);
    void take_piece(block::Request& request, block::RequestBatch& up);
    std::span<std::byte> take_buffer(std::size_t bytes);
    void give_buffer(std::span<std::byte> buffer);
    [[nodiscard]] std::uint64_t sector_of(std::uint64_t lba) const {
        return lba * sectors_per_block_;
    }

    const CryptDevice& device_;
    KeyLane& lane_;
    std::unique_ptr<block::Channel> lower_;
    std::unique_ptr<AesXts> cipher_;
    std::unique_ptr<AesXts> next_;  // null: the key is not being changed
    block::RequestBatch held_;
    memory::BufferPool* pool_;
    Reserve reserve_;
    bool reserve_used_ = false;
    std::size_t pool_bytes_ = 0;  // held
    std::size_t sector_size_;
    std::size_t block_size_;
    std::uint64_t sectors_per_block_;

    reactor::Reactor& reactor_;
    reactor::Timer next_turn_;
    core::Nanos turn_{-1};  // that the two counts belong to
    std::size_t encrypt_left_ = 0;
    std::size_t decrypt_left_ = 0;

    block::RequestBatch to_decrypt_;
    block::Request* decrypting_ = nullptr;  // begun
    std::size_t decrypting_left_ = 0;
    CryptPosition decrypting_at_;

    std::vector<Slot> slots_;
    core::Queue<Slot> free_;
    core::Queue<Slot> next_pieces_;  // with a buffer and more to encrypt
    block::RequestBatch waiting_;    // writes without a slot
    block::DeferredCompletions refused_;
};

}  // namespace remora::services::crypto
