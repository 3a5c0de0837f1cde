// SPDX-License-Identifier: Apache-2.0
// xts_speed: what AES-XTS costs on one core, each kernel of this processor beside OpenSSL's EVP as
// we would use it (a context that keeps its key, a new tweak for every sector).
//
// Kernels take turns and each row is the best of `--rounds` turns, because other programs only ever
// add time. Prints GB/s (10^9 bytes) and the multiple of EVP; where the fastest kernel is one of
// VAES and a call has many sectors, also PASS or MISS of its bar, and ends with 1 after a MISS.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "services/crypto/aes_xts.h"

namespace {

using remora::services::crypto::AesXts;
using remora::services::crypto::kXtsKernels;
using remora::services::crypto::SectorNumbers;
using remora::services::crypto::XtsDirection;
using remora::services::crypto::XtsKernel;
using remora::services::crypto::XtsKey;

struct Shape {
    std::size_t key_bytes;
    std::size_t sector_size;
    std::size_t sectors;  ///< A call.
    XtsDirection direction;
};

struct Options {
    int rounds = 40;
    double round_ms = 2;
};

/// Best ns a byte of `rounds` turns, by kernel; 0 where there is none.
std::array<double, kXtsKernels.size()> measure(const Shape& shape, const Options& options) {
    using Clock = std::chrono::steady_clock;
    std::vector<std::byte> key_bytes(shape.key_bytes);
    for (std::size_t i = 0; i < key_bytes.size(); ++i) {
        key_bytes[i] = static_cast<std::byte>(i * 7);
    }
    const auto key = std::move(*XtsKey::create(key_bytes));
    std::vector<std::unique_ptr<AesXts>> ciphers;
    for (const XtsKernel kernel : kXtsKernels) {
        auto made = AesXts::create(*key, SectorNumbers::Sectors, kernel);
        ciphers.push_back(made ? std::move(*made) : nullptr);
    }
    const std::size_t bytes = shape.sector_size * shape.sectors;
    std::vector<std::byte> in(bytes, std::byte{0x42});
    std::vector<std::byte> out(bytes);
    std::array<double, kXtsKernels.size()> best{};
    for (int round = 0; round < options.rounds; ++round) {
        for (std::size_t i = 0; i < ciphers.size(); ++i) {
            if (ciphers[i] == nullptr) {
                continue;
            }
            std::uint64_t calls = 0;
            const auto begin = Clock::now();
            std::chrono::duration<double, std::nano> taken{};
            do {
                for (int n = 0; n < 16; ++n, ++calls) {
                    if (shape.direction == XtsDirection::Encrypt) {
                        ciphers[i]->encrypt(calls, shape.sector_size, in, out);
                    } else {
                        ciphers[i]->decrypt(calls, shape.sector_size, in, out);
                    }
                }
                taken = Clock::now() - begin;
            } while (taken.count() < options.round_ms * 1e6);
            const double each = taken.count() / static_cast<double>(calls * bytes);
            best[i] = best[i] == 0 ? each : std::min(best[i], each);
        }
    }
    return best;
}

/// The multiple of EVP that the fastest kernel must reach, where it is one of VAES; 0 for calls of
/// a single sector, which wait for its tweak.
double bar_of(const Shape& shape) {
    if (shape.sectors == 1) {
        return 0;
    }
    return shape.sector_size == 512 ? 4 : 2.5;
}

/// Whether the row's bar, if any, is met.
bool print(const Shape& shape, const std::array<double, kXtsKernels.size()>& best) {
    std::printf("aes-%zu %s %5zu B x %3zu", shape.key_bytes * 4,
                shape.direction == XtsDirection::Encrypt ? "encrypt" : "decrypt", shape.sector_size,
                shape.sectors);
    const double evp = best.back();
    for (std::size_t i = 0; i < best.size(); ++i) {
        const std::string name(to_string(kXtsKernels[i]));
        if (best[i] == 0) {
            std::printf("   %s -", name.c_str());
        } else {
            std::printf("   %s %6.2f (%.2fx)", name.c_str(), 1 / best[i], evp / best[i]);
        }
    }
    const XtsKernel fastest = remora::services::crypto::best_kernel();
    const bool vaes = fastest == XtsKernel::Vaes512 || fastest == XtsKernel::Vaes256;
    const double bar = vaes ? bar_of(shape) : 0;
    const double multiple = evp / best[static_cast<std::size_t>(fastest)];
    if (bar > 0) {
        std::printf("   >= %.1f %s", bar, multiple >= bar ? "PASS" : "MISS");
    }
    std::printf("\n");
    return multiple >= bar;
}

}  // namespace

// NOLINTNEXTLINE(bugprone-exception-escape): what still throws here ends the program, as it should
int main(int argc, char** argv) {
    Options options;
    CLI::App app{"AES-XTS kernels beside OpenSSL: GB/s on one core, and the multiple of EVP"};
    app.add_option("--rounds", options.rounds, "turns of each kernel")->capture_default_str();
    app.add_option("--round-ms", options.round_ms, "length of a turn")->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    bool met = true;
    for (const std::size_t key_bytes : {64U, 32U}) {
        for (const XtsDirection direction : {XtsDirection::Encrypt, XtsDirection::Decrypt}) {
            for (const auto& [size, sectors] : {std::pair<std::size_t, std::size_t>{512, 1},
                                                {512, 8},
                                                {512, 128},
                                                {4096, 1},
                                                {4096, 4},
                                                {4096, 16}}) {
                const Shape shape{key_bytes, size, sectors, direction};
                met = print(shape, measure(shape, options)) && met;
            }
        }
    }
    return met ? 0 : 1;
}
