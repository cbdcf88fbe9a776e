@echo off
"%~dp0bin\node.exe" "%~dp0dist\cli\main.js" %*
