class Partyline < Formula
  desc "Finds the hosts on your network and connects your programs to theirs"
  homepage "@HOMEPAGE@"
  version "@VERSION@"
  license "Apache-2.0"

  on_macos do
    on_arm do
      url "@URL_darwin-arm64@"
      sha256 "@SHA_darwin-arm64@"
    end
    on_intel do
      url "@URL_darwin-x64@"
      sha256 "@SHA_darwin-x64@"
    end
  end

  on_linux do
    on_arm do
      url "@URL_linux-arm64@"
      sha256 "@SHA_linux-arm64@"
    end
    on_intel do
      url "@URL_linux-x64@"
      sha256 "@SHA_linux-x64@"
    end
  end

  def install
    libexec.install Dir["*"]
    bin.write_exec_script libexec/"partyline"
    man1.install_symlink libexec/"share/man/man1/partyline.1"
    bash_completion.install_symlink libexec/"share/completions/partyline.bash" => "partyline"
    zsh_completion.install_symlink libexec/"share/completions/_partyline"
    fish_completion.install_symlink libexec/"share/completions/partyline.fish"
  end

  service do
    run [opt_bin/"partyline", "daemon"]
    keep_alive true
    log_path var/"log/partyline.log"
    error_log_path var/"log/partyline.log"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/partyline --version")
  end
end
