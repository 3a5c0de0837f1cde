// SPDX-License-Identifier: Apache-2.0
// EvpXts: AES-XTS by OpenSSL, the kernel of processors without AES-NI. Its contexts hold a copy of
// the key, which OpenSSL wipes with them. They change with every sector, so each reactor has its
// own; nothing is allocated once they are made.
#pragma once

#include <memory>

#include "core/result.h"
#include "services/crypto/xts_key.h"

struct evp_cipher_ctx_st;

namespace remora::services::crypto {

class EvpXts {
  public:
    /// Errors: Internal when OpenSSL has no AES-XTS.
    static core::Result<std::unique_ptr<EvpXts>> create(const XtsKey& key);

    void crypt(XtsDirection direction, const XtsRun& run);

  private:
    struct Free {
        void operator()(evp_cipher_ctx_st* context) const;
    };
    using Context = std::unique_ptr<evp_cipher_ctx_st, Free>;
    EvpXts(Context encrypt, Context decrypt)
        : encrypt_(std::move(encrypt)), decrypt_(std::move(decrypt)) {}
    static Context make_context(const XtsKey& key, XtsDirection direction);

    Context encrypt_;
    Context decrypt_;
};

}  // namespace remora::services::crypto
