// SPDX-License-Identifier: Apache-2.0
// Rekey: gives a CryptDevice another key while it is in use: reads what is below piece by piece,
// encrypts it anew, and writes it where it was.
//
//   hold the piece, flush ─► read, encrypt ─► keep its marks ─► write ─► keep position ─► let go
//
// A crash between the two keeps leaves sectors of both keys in one piece. What is kept tells them
// apart: a mark of each sector's new ciphertext. It is the ciphertext of what was flushed, so that
// a sector is one of the two, whatever cache those below have. And so a sector has to be written
// wholly or not at all by those below, as disks do; a piece that is torn inside a sector is lost,
// as with dm-crypt. Nobody writes to the piece until the position behind it is durable, or else
// what he wrote would be taken for the old key's.
//
// Requests that touch the piece wait for as long as that takes; all others do not. If it cannot be
// written, requests to it fail, and it is tried again for ever: it has both keys. If it cannot be
// read it is left as it was, and tried again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "reactor/gate.h"
#include "reactor/signal.h"
#include "reactor/task.h"
#include "services/crypto/crypt_device.h"
#include "services/crypto/rekey_keeper.h"

namespace remora::services::crypto {

struct RekeyOptions {
    static constexpr std::size_t kMaxPieceBytes = std::size_t{1} << 20U;
    std::uint64_t bytes_per_second = std::uint64_t{200} << 20U;
    std::size_t piece_bytes = kMaxPieceBytes;  ///< Whole blocks.
};

class RekeyWorker;

/// On the control reactor; the work is done on the first of the device's.
class Rekey {
  public:
    static constexpr core::Nanos kRetryAfter = std::chrono::seconds(1);

    /// Both outlive it.
    Rekey(CryptDevice& device, RekeyKeeper& keeper, RekeyOptions options);
    Rekey(const Rekey&) = delete;
    Rekey& operator=(const Rekey&) = delete;
    /// After stop().
    ~Rekey();

    /// Begins, or goes on from `point`: then before any channel of the device is open. Errors:
    /// those of ciphers and channels, InvalidArgument for a point that does not fit; the device is
    /// as it was.
    reactor::Task<core::Result<void>> start(std::unique_ptr<const XtsKey> next, RekeyPoint point);
    /// Ends the work where it is, once what is under way below has ended.
    reactor::Task<> stop();
    /// The same; false when that has not ended at the deadline.
    reactor::Task<bool> stop_by(core::Nanos deadline);
    /// The device has only the next key.
    [[nodiscard]] bool done() const { return done_; }
    [[nodiscard]] RekeyProgress progress() const;

  private:
    reactor::Task<> run();
    reactor::Task<> drop_worker();
    reactor::Task<core::Result<void>> step();
    reactor::Task<> settle();
    reactor::Task<core::Result<void>> finish();
    reactor::Task<core::Result<void>> keep(RekeyPoint point);
    /// False: stop() was called.
    reactor::Task<bool> pause_until(core::Nanos at);
    reactor::Task<bool> report(std::string trouble);
    [[nodiscard]] core::Result<void> check(const RekeyPoint& point) const;
    [[nodiscard]] reactor::Reactor& worker_reactor() const;

    CryptDevice& device_;
    RekeyKeeper& keeper_;
    RekeyOptions options_;
    std::unique_ptr<RekeyWorker> worker_;  // lives on its reactor
    RekeyPoint point_;
    bool prepared_ = false;  // the piece's new ciphertext is in the worker's buffer
    bool stopping_ = false;
    bool done_ = false;
    std::string trouble_;
    core::Nanos next_at_{0};
    reactor::Signal wake_;
    reactor::Gate gate_;
};

}  // namespace remora::services::crypto
